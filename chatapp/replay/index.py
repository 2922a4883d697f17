"""A trace file, indexed: what each line is and when it was written, without taking most of them apart.

A trace of 100,000 tokens is a hundred megabytes, nearly all of it snapshots of which a screen shows one. So of the bulk
only the head is decoded when the file is opened; the rest is when it is needed, from its place in the file.
"""

import math
import os
from array import array
from bisect import bisect_left
from collections import Counter
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, get_args

import msgspec

from chatapp.errors import UserError
from chatapp.replay.lines import FORMAT, AnyLine, decode
from chatapp.replay.validate import problem

KINDS = tuple(kind.__name__ for kind in get_args(AnyLine))
"""The types of lines that are known."""

LATEST_S = 253_402_300_799.0
"""The last second of the year 9999: no clock shows a later one."""

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a line that is none is refused with; the last one is for a thousand brackets."""

_NUMBERS = {name: number for number, name in enumerate(KINDS)}
_BULK = frozenset(("Snapshot", "Probed", "Scored", "Text"))
_BULK_KEPT = 512
"""Decoded entries of these types that are kept. The others are few, and all are."""


class _Head(msgspec.Struct):
    """What is read of every line; fields of other types of lines are skipped."""

    type: str
    at_s: float | None = None
    turn: int | None = None
    mismatch: Any = None
    text: Any = None
    format: Any = None
    swachat: Any = None


class Index:
    """See the module. Entries are numbered from 0; `lines[i]` is the number of entry i's line in the file, from 1."""

    def __init__(self, path: Path) -> None:
        """Open and read the file. Raises UserError where it is no trace, with the line at which that shows."""
        self.path = path
        self.lines, self.offsets = array("Q"), array("Q")
        self.kinds = bytearray()
        self.at_s = array("d")
        """Never decreasing: two processes write one trace, and their lines may pass each other."""
        self.mismatches = array("Q")
        """Entries in which ledger and cache disagree."""
        self.text_entries = array("Q")
        self.texts: list[str] = []
        """The pieces of replies, and the entries that have them."""
        self.notices: list[str] = []
        """What a person should know of the file, in sentences."""
        self._lengths = array("Q")
        self._unknown: Counter[str] = Counter()
        self._few: dict[int, AnyLine] = {}
        try:
            self._file = _opened(path)
            try:
                self._read()
            except BaseException:
                self._file.close()
                raise
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}.", "Name a trace file.") from error
        self._bulk = lru_cache(maxsize=_BULK_KEPT)(self._decoded)

    def __len__(self) -> int:
        return len(self.lines)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def kind(self, entry: int) -> str:
        """The type of an entry."""
        return KINDS[self.kinds[entry]]

    def of_kind(self, *names: str) -> list[int]:
        """The entries of these types, in order."""
        wanted = {_NUMBERS[name] for name in names}
        return [entry for entry, kind in enumerate(self.kinds) if kind in wanted]

    def entry(self, entry: int) -> AnyLine:
        """All of an entry. Raises UserError where that is one of the bulk, and no line of its type."""
        few = self._few.get(entry)
        return self._bulk(entry) if few is None else few

    def text(self, begin: int, end: int) -> str:
        """The pieces of replies in entries begin .. end - 1, as one text."""
        return "".join(self.texts[bisect_left(self.text_entries, begin) : bisect_left(self.text_entries, end)])

    # ----------------------------------------------------------------------- inside

    def _read(self) -> None:
        """Read the head of each line."""
        heads = msgspec.json.Decoder(_Head)
        offset = 0
        for number, line in enumerate(self._file, 1):
            length = len(line)
            if line.isspace():
                offset += length
                continue
            try:
                head = heads.decode(line)
            except BROKEN as error:
                if line.endswith(b"\n") or not self.lines:
                    raise self._broken(number, str(error)) from error
                self.notices.append(f"The trace was cut off in line {number:,}; it is played up to there.")
                break
            if self._add(head, number, offset, length):
                self._few[len(self) - 1] = self._whole(line, number)
            offset += length
        if not self.lines:
            raise UserError(f"{self.path} holds no events.", "Name a file that `--trace` wrote.")
        if self._unknown:
            kinds = ", ".join(sorted(self._unknown)[:5])
            total = sum(self._unknown.values())
            self.notices.append(f"{total:,} lines of types that this version does not know are left out: {kinds}.")

    def _add(self, head: _Head, number: int, offset: int, length: int) -> bool:
        """Take an entry; True where it is to be decoded whole."""
        kind = _NUMBERS.get(head.type)
        if kind is None:
            self._unknown[head.type[:40]] += 1
            return False
        at_s = head.at_s
        if at_s is None or not math.isfinite(at_s) or not 0 <= at_s <= LATEST_S:
            raise self._broken(number, "`at_s` is no time")
        if head.format is not None and head.type == "Trace" and head.format != FORMAT:
            raise UserError(
                f"{self.path} has format {head.format!r}, written by swachat {head.swachat!r};"
                f" this version reads format {FORMAT}.",
                "Use a newer swachat.",
            )
        entry = len(self.lines)
        if head.mismatch is not None:
            self.mismatches.append(entry)
        if head.type == "Text":
            if not isinstance(head.text, str):
                raise self._broken(number, "`text` is no text")
            self.text_entries.append(entry)
            self.texts.append(head.text)
        self.lines.append(number)
        self.offsets.append(offset)
        self._lengths.append(length)
        self.kinds.append(kind)
        self.at_s.append(max(at_s, self.at_s[-1]) if entry else at_s)
        return head.type not in _BULK

    def _decoded(self, entry: int) -> AnyLine:
        line = os.pread(self._file.fileno(), self._lengths[entry], self.offsets[entry])
        return self._whole(line, self.lines[entry])

    def _whole(self, line: bytes, number: int) -> AnyLine:
        try:
            found = decode(line)
        except BROKEN as error:
            raise self._broken(number, str(error)) from error
        if why := problem(found):
            raise self._broken(number, why)
        return found

    def _broken(self, number: int, why: str) -> UserError:
        return UserError(
            f"Line {number:,} of {self.path} is no line of a trace: {why}.", "A file that `--trace` wrote can be read."
        )


def _opened(path: Path) -> BinaryIO:
    """The file; UserError where it is none: a pipe would have us wait for its writer, and cannot be read twice."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is no regular file.", "Name a trace file.")
    return path.open("rb")
