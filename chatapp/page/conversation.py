"""The conversation on a page: each message with what the model saw of the conversation at the end of its turn."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.presentation import format
from chatapp.presentation.notices import NOT_RECORDED
from chatapp.presentation.transcript_at import RecordedMessage, TranscriptAt
from chatapp.presentation.visibility import TurnVisibility
from chatapp.protocol.events import Snapshot
from chatapp.replay.lines import OWN
from chatapp.replay.timeline import Timeline
from chatapp.text import visible

MOST_ITEMS = 2000
"""The newest messages and notices that are shown."""
MOST_CHARS = 1_500_000
"""Characters in the newest messages that are shown."""
LONGEST_MESSAGE = 20_000


@dataclass(frozen=True)
class Item:
    """A message or a notice. `window` says what the model saw at the end of the turn."""

    kind: str
    title: str
    text: str
    turn: int
    window: str = ""


def conversation(timeline: Timeline, notices: list[str]) -> list[Item]:
    """The newest messages and notices that fit, in order; what was omitted is added to `notices`."""
    story = TranscriptAt(timeline.index)
    story.go_to(timeline.end)
    windows = _Windows(timeline)
    kept: list[Item] = []
    room = MOST_CHARS
    for item in reversed(story.items):
        if len(kept) >= MOST_ITEMS or room <= 0:
            break
        if isinstance(item, RecordedMessage):
            made = _spoken(item, windows)
        else:
            made = Item(f"notice {item.notice.level}", "", item.notice.text, 0)
        room -= len(made.text)
        kept.append(made)
    if len(kept) < len(story.items):
        notices.append(f"Only the last {len(kept):,} of {len(story.items):,} messages and notices are shown.")
    return kept[::-1]


def _spoken(item: RecordedMessage, windows: "_Windows") -> Item:
    text = visible(item.text) if item.known else NOT_RECORDED
    if len(text) > LONGEST_MESSAGE:
        half = LONGEST_MESSAGE // 2
        omitted = len(text) - 2 * half
        text = f"{text[:half]}\n\n… {omitted:,} characters omitted here …\n\n{text[-half:]}"
    who = "You" if item.role == "user" else "Model"
    pinned = ", pinned" if item.pinned else ""
    window = windows.after(item.turn) if item.role != "user" else ""
    return Item(
        "user" if item.role == "user" else "reply", f"{who} · turn {item.turn}{pinned}", text, item.turn, window
    )


class _Windows:
    """What was in the window at the end of each turn."""

    def __init__(self, timeline: Timeline) -> None:
        self._index = timeline.index
        self._snapshots = timeline.index.of_kind("Snapshot")
        self._begins = timeline.turns
        self._ends: dict[int, int] = {}
        for number in timeline.index.of_kind("TurnDone"):
            entry = timeline.index.entry(number)
            if not isinstance(entry, OWN) and entry.turn is not None:
                self._ends[entry.turn] = number

    def after(self, turn: int) -> str:
        """In words, from the last snapshot before another turn begins; empty if there is none."""
        end = self._ends.get(turn)
        if end is None:
            return ""
        following = bisect_right(self._begins, end)
        until = self._begins[following] if following < len(self._begins) else len(self._index)
        at = bisect_left(self._snapshots, until) - 1
        if at < 0:
            return ""
        snapshot = self._index.entry(self._snapshots[at])
        assert isinstance(snapshot, Snapshot)
        inside = TurnVisibility(snapshot).inside
        seen = format.turns_named(sorted(inside)) if inside else "no turn"
        out = between(sorted(inside), turn)
        gone = f"; evicted: {out}" if out else ""
        return f"In the window then: {seen}{gone} ({snapshot.n_used:,} of {format.plural(snapshot.n_ctx, 'cell')})."


def between(inside: Sequence[int], last: int) -> str:
    """The turns from 1 to `last` that are not in `inside`, which is sorted: "1–3, 7". There may be a million."""
    found: list[str] = []
    expected = 1
    for turn in (*(number for number in inside if number <= last), last + 1):
        if turn > expected:
            found.append(str(expected) if turn == expected + 1 else f"{expected}–{turn - 1}")
        expected = turn + 1
    return ", ".join(found)
