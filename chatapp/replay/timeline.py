"""The positions in a trace: its clock, its turns and evictions, and the entries needed to show any position.

A position p is the number of entries that have happened: 0 is before the first, len(index) after the last.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from heapq import merge

from chatapp.replay.index import Index

LONGEST_PAUSE_S = 2.0
"""Nobody wants to wait while the user thinks: no pause of the trace is played longer than this."""

HISTORY = 240
"""How many of the newest snapshots, samples and texts are replayed after a seek, and of the snapshots before these.

The panels draw short histories of most figures, and one of memory over all of it.
"""

NEWEST = {"Started": 1, "Loaded": 1, "Foreseen": 1, "Snapshot": HISTORY, "Probed": HISTORY, "Spelled": HISTORY}
"""How many of these an inspector is given."""

CHANGES = (
    *("Opened", "TurnStarted", "TurnDone", "Evicted", "RolledBack", "Pinned", "Recalled", "Branched", "Released"),
    *("Saved", "Warned", "Failed"),
)
"""The events that change the cache, or one of its turns."""


class Timeline:
    """A trace that can be navigated in both directions."""

    def __init__(self, index: Index) -> None:
        self.index = index
        self.end = len(index)
        self.clock_s = _clock(index.at_s)
        """For each entry the time at which it is played, from 0, with long pauses shortened."""
        self.turns = index.of_kind("TurnStarted")
        self.evictions = index.of_kind("Evicted")
        self.mismatches = list(index.mismatches)
        self._newest = [(index.of_kind(name), n) for name, n in NEWEST.items()]
        self._changes = _changes(index)
        self._snapshots = index.of_kind("Snapshot")

    @property
    def duration_s(self) -> float:
        """How long it takes to play at normal speed."""
        return self.clock_s[-1]

    def time_of(self, position: int) -> float:
        """The playing time at which a position is reached."""
        return self.clock_s[min(position, self.end) - 1] if position > 0 else 0.0

    def at(self, time_s: float) -> int:
        """The position at a playing time: after everything that has happened by then."""
        return bisect_right(self.clock_s, time_s)

    def turn_at(self, position: int) -> int:
        """How many turns have begun by then."""
        return bisect_left(self.turns, position)

    def shown_at(self, position: int) -> list[int]:
        """The entries that bring a fresh inspector to this position, in order: every change of the cache, as the ledger
        log adds them up, and of the snapshots, samples and texts the newest, with some from before.
        """
        newest = [_last(entries, position, n) for entries, n in self._newest]
        before = self._snapshots[: max(0, bisect_left(self._snapshots, position) - HISTORY)]
        some = before[:: max(1, -(-len(before) // HISTORY))]
        return list(merge(_last(self._changes, position, position), some, *newest))


def next_of(entries: Sequence[int], position: int) -> int | None:
    """The position just after the first of `entries` that has not happened by `position`; None after the last."""
    index = bisect_left(entries, position)
    return entries[index] + 1 if index < len(entries) else None


def previous_of(entries: Sequence[int], position: int) -> int | None:
    """The position just after the last of `entries` that happened before the newest one; None where there is none."""
    index = bisect_left(entries, position - 1) - 1
    return entries[index] + 1 if index >= 0 else None


def _last(entries: Sequence[int], position: int, n: int) -> Sequence[int]:
    end = bisect_left(entries, position)
    return entries[max(0, end - n) : end]


def _clock(at_s: Sequence[float]) -> "array[float]":
    clock, now_s = array("d"), 0.0
    before_s = at_s[0]
    for each_s in at_s:
        now_s += min(each_s - before_s, LONGEST_PAUSE_S)
        before_s = each_s
        clock.append(now_s)
    return clock


def _changes(index: Index) -> list[int]:
    """The changes of the cache; of a prompt that was reported in pieces, only the last piece."""
    found: list[int] = []
    piece: int | None = None
    for entry in index.of_kind("Prefilled", *CHANGES):
        if index.kind(entry) == "Prefilled":
            piece = entry
            continue
        if piece is not None:
            found.append(piece)
            piece = None
        found.append(entry)
    return found if piece is None else [*found, piece]
