"""The bar at the bottom of a replay: its position, and where something happened."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from chatapp.presentation import format
from chatapp.replay.player import Player
from chatapp.replay.timeline import Timeline
from chatapp.ui.widgets.inspector import paint

MISMATCH, EVICTION, TURN = "✗", "▲", "·"
"""The marks above the bar, the most important first; no colour is needed to tell them apart."""


def column_of(timeline: Timeline, position: int, width: int) -> int:
    """The column, 0 .. width - 1, of a position; by time, or by entries in a trace without duration."""
    if width <= 1 or timeline.end == 0:
        return 0
    if timeline.duration_s > 0:
        share = timeline.time_of(position) / timeline.duration_s
    else:
        share = position / timeline.end
    return round(share * (width - 1))


def position_of(timeline: Timeline, column: int, width: int) -> int:
    """The position for a click on a column: the inverse of `column_of`, as far as there is one."""
    share = min(max(column, 0), width - 1) / max(1, width - 1)
    if timeline.duration_s > 0:
        return timeline.at(share * timeline.duration_s)
    return round(share * timeline.end)


def marks(timeline: Timeline, width: int) -> str:
    """The marks in `width` columns; a more important one covers a less important one."""
    row = [" "] * max(0, width)
    for entries, mark in (
        (timeline.turns, TURN),
        (timeline.evictions, EVICTION),
        (timeline.mismatches, MISMATCH),
    ):
        for entry in entries:
            if row:
                row[column_of(timeline, entry + 1, width)] = mark
    return "".join(row)


def words(player: Player, width: int) -> str:
    """Time, turn and event, as far as the bar stays wide enough; the same width at the start as at the end."""
    timeline = player.timeline
    told = [
        _of(_clock(player.time_s), _clock(timeline.duration_s)),
        f"turn {_of(format.count(timeline.turn_at(player.position)), format.count(len(timeline.turns)))}",
        f"event {_of(format.count(player.position), format.count(timeline.end))}",
    ]
    while len(told) > 1 and cell_len(" · ".join(told)) > width * 0.6:
        told.pop()
    return " · ".join(told)


def _of(part: str, whole: str) -> str:
    return f"{part:>{len(whole)}}/{whole}"


def _clock(seconds: float) -> str:
    """ "3:07", "1:03:07"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Scrubber(Widget, can_focus=True):
    """Draws the player's position; a click or a drag posts `Sought`."""

    HELP = (
        "The position in the replay: the bar is by time, with long pauses shortened. "
        "Above it, ▲ is an eviction, ✗ a disagreement of ledger and cache, · the beginning of a turn. "
        "Space plays and pauses, the arrows move by five seconds, `,` and `.` by one event, `[` and `]` by a turn, `e`"
        " and `m` to the next eviction and mismatch; a click goes there."
    )
    DEFAULT_CSS = """
    Scrubber { height: 2; width: 1fr; padding: 0 1; background: $surface; color: $text-muted; }
    """

    class Sought(Message):
        """A person wants to go to this position."""

        def __init__(self, position: int) -> None:
            super().__init__()
            self.position = position

    def __init__(self, player: Player) -> None:
        super().__init__()
        self._player = player
        self._marks: tuple[int, str] = (-1, "")
        self._dragged = False

    def render_line(self, y: int) -> Strip:
        """The marks, or the bar with its figures."""
        width, base = self.content_size.width, self.visual_style.rich_style
        said = f"  {words(self._player, width)}"
        bar = max(1, width - cell_len(said))
        segments = self._above(bar) if y == 0 else [*self._bar(bar), Segment(said)]
        return Strip(segments).apply_style(base).adjust_cell_length(width, base)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Two lines."""
        return 2

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Go there, and follow the mouse from then on."""
        self._dragged = True
        self.capture_mouse()
        self._seek(event)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse."""
        if self._dragged:
            self._seek(event)

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Release the mouse."""
        self._dragged = False
        self.release_mouse()

    @property
    def _bar_width(self) -> int:
        width = self.content_size.width
        return max(1, width - cell_len(f"  {words(self._player, width)}"))

    def _seek(self, event: events.MouseEvent) -> None:
        offset = event.get_content_offset_capture(self)
        self.post_message(self.Sought(position_of(self._player.timeline, offset.x, self._bar_width)))

    def _above(self, width: int) -> list[Segment]:
        if self._marks[0] != width:
            self._marks = (width, marks(self._player.timeline, width))
        colours = paint.palette_of(self)
        styles = {
            MISMATCH: colours.style("mismatch", bold=True),
            EVICTION: colours.style("partial"),
        }
        return [Segment(mark, styles.get(mark)) for mark in self._marks[1]]

    def _bar(self, width: int) -> list[Segment]:
        at = column_of(self._player.timeline, self._player.position, width)
        head = Segment("●", Style(bold=True, reverse=self.has_focus))
        return [Segment("━" * at), head, Segment("─" * (width - at - 1), Style(dim=True))]
