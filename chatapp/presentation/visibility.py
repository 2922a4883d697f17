"""How much of each message the model can still see, from a snapshot of the cache."""

from collections import defaultdict
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chatapp.protocol.events import Snapshot
    from chatapp.protocol.values import CellRun


class Visibility(StrEnum):
    """How much of a message the model can still see. The value is the CSS class of its edge."""

    UNKNOWN = "unknown"
    """Not sent yet, or nothing is known about the cache."""
    WINDOW = "in-window"
    PARTLY = "partly"
    """Some of its tokens were evicted."""
    EVICTED = "evicted"
    SINK = "sink"
    """Only sinks remain of it; sinks are never evicted."""
    PINNED = "pinned"
    RECALLED = "recalled"


LABELS = {
    Visibility.PARTLY: "partly evicted",
    Visibility.EVICTED: "evicted",
    Visibility.SINK: "sink",
    Visibility.PINNED: "pinned",
    Visibility.RECALLED: "recalled",
}
"""The words beside a message that is not simply in the window, so that no colour is needed to tell."""


class TurnVisibility:
    """How much the model can see of every message of a conversation, from one snapshot."""

    def __init__(self, snapshot: "Snapshot") -> None:
        """Cheap enough for every frame: it reads the runs and ghosts, never the cells."""
        self._runs: dict[tuple[int, str], list[CellRun]] = defaultdict(list)
        for run in snapshot.runs:
            self._runs[run.turn, run.role].append(run)
        self._ghosts = {ghost.turn for ghost in snapshot.ghosts}
        self.inside = frozenset(run.turn for run in snapshot.runs if run.turn > 0 and run.kind != "sink")
        """The turns with tokens other than sinks in the cache."""
        self._newest = max((*self.inside, *self._ghosts), default=0)

    def of(self, turn: int, role: str) -> Visibility:
        """For one message. What is missing of turns before the newest one was evicted."""
        runs = self._runs.get((turn, role))
        if not runs:
            gone = turn in self._ghosts or 0 < turn < self._newest
            return Visibility.EVICTED if gone else Visibility.UNKNOWN
        kinds = {run.kind for run in runs}
        if kinds == {"sink"}:
            return Visibility.SINK
        kinds.discard("sink")
        if any(run.lost for run in runs):
            return Visibility.PARTLY
        if kinds == {"pinned"}:
            return Visibility.PINNED
        if kinds == {"recalled"}:
            return Visibility.RECALLED
        return Visibility.WINDOW
