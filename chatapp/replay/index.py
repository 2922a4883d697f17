"""A trace file, indexed: what each line is and when it was written, without decoding most of them.

A trace of 100,000 tokens is a hundred megabytes, nearly all of it snapshots, of which a screen shows one. So most lines
are decoded only in part when the file is opened, and fully when they are needed, from their offset in the file.
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
"""The known line types."""

LATEST_S = 253_402_300_799.0
"""The last second of the year 9999: no clock shows a later one."""

BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""The errors that an invalid line raises; the last one is for a thousand brackets."""

_NUMBERS = {name: number for number, name in enumerate(KINDS)}
_BULK = frozenset(("Snapshot", "Probed", "Scored", "Text"))
_BULK_KEPT = 512
"""How many decoded entries of these types are kept. The other types are few, and all are kept."""


class _Head(msgspec.Struct):
    """The fields read from every line; all others are skipped."""

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
        """Open and read the file. Raises UserError, naming the line, where it is not a trace."""
        self.path = path
        self.lines, self.offsets = array("Q"), array("Q")
        self.kinds = bytearray()
        self.at_s = array("d")
        """Never decreasing: two processes write one trace, and their lines may be out of order."""
        self.mismatches = array("Q")
        """Entries in which the ledger and the cache disagree."""
        self.text_entries = array("Q")
        self.texts: list[str] = []
        """The pieces of replies, and the entries that have them."""
        self.notices: list[str] = []
        """What the user should know about the file, in sentences."""
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
        """Close the file."""
        self._file.close()

    def kind(self, entry: int) -> str:
        """The type of an entry."""
        return KINDS[self.kinds[entry]]

    def of_kind(self, *names: str) -> list[int]:
        """The entries of these types, in order."""
        wanted = {_NUMBERS[name] for name in names}
        return [entry for entry, kind in enumerate(self.kinds) if kind in wanted]

    def entry(self, entry: int) -> AnyLine:
        """The whole entry. Raises UserError where a line that was not decoded before is invalid."""
        few = self._few.get(entry)
        return self._bulk(entry) if few is None else few

    def text(self, begin: int, end: int) -> str:
        """The pieces of replies in entries begin .. end - 1, as one text."""
        return "".join(self.texts[bisect_left(self.text_entries, begin) : bisect_left(self.text_entries, end)])

    # ----------------------------------------------------------------------- inside

    def _read(self) -> None:
        """Read the common fields of each line."""
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
                self.notices.append(f"The trace is truncated in line {number:,}; it is played up to there.")
                break
            if self._add(head, number, offset, length):
                self._few[len(self) - 1] = self._whole(line, number)
            offset += length
        if not self.lines:
            raise UserError(f"{self.path} contains no events.", "Name a file written with --trace.")
        if self._unknown:
            kinds = ", ".join(sorted(self._unknown)[:5])
            total = sum(self._unknown.values())
            self.notices.append(f"Skipped lines of types that this version does not know: {total:,} ({kinds}).")

    def _add(self, head: _Head, number: int, offset: int, length: int) -> bool:
        """Add an entry; True if it is to be decoded whole."""
        kind = _NUMBERS.get(head.type)
        if kind is None:
            self._unknown[head.type[:40]] += 1
            return False
        at_s = head.at_s
        if at_s is None or not math.isfinite(at_s) or not 0 <= at_s <= LATEST_S:
            raise self._broken(number, "`at_s` is not a time")
        if head.format is not None and head.type == "Trace" and head.format != FORMAT:
            raise UserError(
                f"{self.path} is a trace of format {head.format!r}, written by swachat {head.swachat!r};"
                f" this version reads format {FORMAT}.",
                "Update swachat.",
            )
        entry = len(self.lines)
        if head.mismatch is not None:
            self.mismatches.append(entry)
        if head.type == "Text":
            if not isinstance(head.text, str):
                raise self._broken(number, "`text` is not a string")
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
            f"Line {number:,} of {self.path} is not a line of a trace: {why}.", "Name a file written with --trace."
        )


def _opened(path: Path) -> BinaryIO:
    """The file; UserError where it is not a regular file: a pipe would block, and cannot be read twice."""
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a regular file.", "Name a trace file.")
    return path.open("rb")
