"""llama.cpp's own account of its cells, which the product never reads, held against the ledger at every decode.

With `LLAMA_KV_CACHE_DEBUG=3` in the environment llama.cpp writes to its log who holds each cell and at which position,
before it places a micro-batch (llama-kv-cache.cpp, find_slot). At that moment the ledger must say the same.
"""

import ctypes
import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import llama_cpp as lib

from chatapp.cache.ledger import Ledger
from chatapp.engine.kv.cache import KvCache

MOST_PROBLEMS = 10
_DEBUG = 1  # ggml_log_level of the debug lines
_HEAD = re.compile(rb"find_slot: stream\[\d+\], .* n_swa = +(\d+)\n")
_DUMP = re.compile(rb"\n[0-9M. *\n]+\n")
# Two dumps follow the head. In the first a character stands for each cell: the sequence that holds it, "M" where
# several do, "." for none; a line has 256 cells. In the second five stand for each, its position; a line has 64 cells.
_CELL_CHARS = 5
_POSITIONS_LINE_CHARS = 64 * _CELL_CHARS


class Witness:
    """What llama.cpp says of its cells, while `installed`, against the ledger of the `kv` that it was given.

    `checks` counts the comparisons; `problems` holds the first ten disagreements in words.
    """

    def __init__(self) -> None:
        self.kv: KvCache | None = None
        self.checks = 0
        self.problems: list[str] = []
        self._n_swa = 0
        self._holders = b""

    @contextmanager
    def installed(self) -> Generator[None]:
        """Listen to llama.cpp's log; contexts made inside the block write their cells to it."""
        before, user = lib.llama_log_callback(), ctypes.c_void_p()
        binding: Any = lib  # the stub does not take byref()
        binding.llama_log_get(ctypes.byref(before), ctypes.byref(user))

        @lib.llama_log_callback
        def listen(level: int, text: bytes, user_data: ctypes.c_void_p) -> None:
            if level == _DEBUG:
                self.hear(text)
            else:
                before(level, text, user_data)

        setting = os.environ.get("LLAMA_KV_CACHE_DEBUG")
        os.environ["LLAMA_KV_CACHE_DEBUG"] = "3"
        lib.llama_log_set(listen, user)
        try:
            yield
        finally:
            lib.llama_log_set(before, user)
            if setting is None:
                del os.environ["LLAMA_KV_CACHE_DEBUG"]
            else:
                os.environ["LLAMA_KV_CACHE_DEBUG"] = setting

    def attend(self, kv: KvCache) -> None:
        """Hold this one's ledger against the cells, but for what is put back from a saved state or a checkpoint: that
        asks for cells as well (llama-kv-cache.cpp, state_read_meta), when the ledger cannot know of it yet.
        """
        restore = kv.context.restore

        def unheard(state: bytes | memoryview, *, part: bool = False) -> bool:
            self.kv = None
            try:
                return restore(state, part=part)
            finally:
                self.kv = kv

        kv.context.restore = unheard
        self.kv = kv

    def hear(self, text: bytes) -> None:
        """One message of the log."""
        if head := _HEAD.fullmatch(text):
            self._n_swa = int(head[1])
        elif not _DUMP.fullmatch(text):
            return
        elif text.index(b"\n", 1) - 1 != _POSITIONS_LINE_CHARS:
            self._holders = _cells(text)
        elif self.kv is not None:
            held = cells(self._holders, _cells(text), self.kv.context.sequence)
            self.compare(self.kv.ledger, held, self._n_swa)

    def compare(self, ledger: Ledger, held: Mapping[int, int], n_swa: int) -> None:
        """The next micro-batch finds these cells held, each at its position; those of sliding layers where `n_swa`."""
        self.checks += 1
        problem = disagreement(ledger, sorted(held.values()), n_swa)
        if problem is not None and len(self.problems) < MOST_PROBLEMS:
            self.problems.append(problem)


def _cells(dump: bytes) -> bytes:
    """The dump without line ends and the stars after each 256 cells."""
    return dump.replace(b" *", b"").replace(b"\n", b"")


def cells(holders: bytes, places: bytes, sequence: int) -> dict[int, int]:
    """The position in each cell that `sequence` holds, alone or with the other one, by the cell's number.

    Of three and more sequences llama.cpp does not say which ones hold a cell together.
    """
    ours = (ord(str(sequence)), ord("M"))
    return {
        i: int(places[i * _CELL_CHARS : (i + 1) * _CELL_CHARS]) for i, holder in enumerate(holders) if holder in ours
    }


def disagreement(ledger: Ledger, cells: Sequence[int], n_swa: int) -> str | None:
    """How the positions in the cells differ from the ledger's, None where they do not.

    Cells of a sliding window (`n_swa` above 0) must hold all that the next token sees, and nothing that has left.
    """
    told = [pos for run in ledger.runs for pos in range(run.pos, run.end)]
    if not n_swa:
        return None if cells == told else f"the ledger has {_words(told)}, the cells have {_words(cells)}"
    needed = [pos for pos in told if pos > ledger.next_pos - n_swa]
    seen = [pos for pos in cells if pos > ledger.next_pos - n_swa]
    if seen != needed:
        return f"the window of {n_swa} needs {_words(needed)}, its cells have {_words(seen)}"
    gone = sorted(set(cells) - set(told))
    return f"sliding cells hold {_words(gone)}, which have left" if gone else None


def _words(numbers: Sequence[int]) -> str:
    """Positions as ranges: "0-3, 8-12 (9 in all)"."""
    ranges: list[list[int]] = []
    for number in numbers:
        if ranges and ranges[-1][1] == number - 1:
            ranges[-1][1] = number
        else:
            ranges.append([number, number])
    shown = ", ".join(f"{a}-{b}" if a < b else str(a) for a, b in ranges[:8])
    return f"{shown or 'none'}{', ...' if len(ranges) > 8 else ''} ({len(numbers)} in all)"
