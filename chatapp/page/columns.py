"""The moments of a trace that a page draws: a few hundred, however long it is, with the state at each."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.protocol.events import Probed, Snapshot
from chatapp.replay.timeline import Timeline

MOST = 600
"""Columns of the map and of the curves: more than a screen can resolve."""


@dataclass(frozen=True)
class Column:
    """One moment: the newest snapshot and the newest probe sample by then. Moments with the same sample share it."""

    position: int
    time_s: float
    """Playing time: long pauses are shortened."""
    at_s: float
    """Unix time."""
    snapshot: Snapshot
    sample: Probed | None


def columns(timeline: Timeline, most: int = MOST) -> list[Column]:
    """At most `most` moments, evenly spaced in playing time, from the first snapshot on; none where there is none.

    Raises UserError where a snapshot that is drawn cannot be read.
    """
    index = timeline.index
    snapshots, probes = index.of_kind("Snapshot"), index.of_kind("Probed")
    if not snapshots:
        return []
    found: list[Column] = []
    newest, sample = -1, None
    for position in _positions(timeline, snapshots, most):
        snapshot = index.entry(snapshots[bisect_left(snapshots, position) - 1])
        assert isinstance(snapshot, Snapshot)
        probed = bisect_left(probes, position) - 1
        if probed > newest:
            entry = index.entry(probes[probed])
            assert isinstance(entry, Probed)
            newest, sample = probed, entry
        found.append(Column(position, timeline.time_of(position), index.at_s[position - 1], snapshot, sample))
    return found


def column_of(found: Sequence[Column], position: int) -> int:
    """The column of a position: the first that has reached it, else the last."""
    return min(bisect_left([column.position for column in found], position), len(found) - 1)


def _positions(timeline: Timeline, snapshots: Sequence[int], most: int) -> list[int]:
    """The moments to show: every snapshot where there are few, else evenly spaced times."""
    if len(snapshots) <= most:
        return [entry + 1 for entry in snapshots]
    first, last = timeline.time_of(snapshots[0] + 1), timeline.duration_s
    times = [first + (last - first) * number / (most - 1) for number in range(most)]
    positions = {max(timeline.at(time_s), snapshots[0] + 1) for time_s in times}
    return sorted(positions | {timeline.end})[:most]
