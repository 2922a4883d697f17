"""A small app with the inspector in it, and ways to read what is on its screen."""

from collections.abc import Iterable

from textual.app import App, ComposeResult
from textual.containers import Container
from textual.geometry import Region
from textual.theme import Theme
from textual.widget import Widget

from chatapp.presentation.memory_pressure import MemoryWatch
from chatapp.protocol.codec import AnyEvent
from chatapp.ui.widgets.inspector.inspector import Inspector, TurnChosen
from chatapp.ui.widgets.inspector.inspector_line import InspectorLine

CELL_COLOURS = {
    "cell-sink": "#ff0000",
    "cell-turn-a": "#00ff00",
    "cell-turn-b": "#0000ff",
    "cell-free": "#808080",
}
BRIGHT = Theme(name="bright", primary="#ffffff", background="#000000", surface="#000000", variables=CELL_COLOURS)
GREY = Theme(
    name="grey", primary="#ffffff", variables={name: f"#{i}0{i}0{i}0" for i, name in enumerate(CELL_COLOURS, start=2)}
)


class InspectorApp(App[None]):
    """The inspector, or its one line, as wide as the screen; fed with some events once it is mounted."""

    def __init__(self, events: Iterable[AnyEvent] = (), *, line: bool = False, frames_per_second: float = 1000) -> None:
        super().__init__()
        self.line = line
        self.frames_per_second = frames_per_second
        self.first_events = list(events)
        self.chosen: list[int] = []
        self.memory = MemoryWatch()

    def compose(self) -> ComposeResult:
        """One widget."""
        with Container(id="side"):
            yield InspectorLine() if self.line else Inspector(frames_per_second=self.frames_per_second)

    def on_mount(self) -> None:
        """Offer two more themes and feed the first events."""
        self.register_theme(BRIGHT)
        self.register_theme(GREY)
        self.feed(*self.first_events)

    def feed(self, *events: AnyEvent) -> None:
        """What the owner of the inspector does with the engine's events."""
        for event in events:
            self.query_one(InspectorLine if self.line else Inspector).show(event)
            self.memory.take(event)
            if not self.line:
                self.query_one(Inspector).show_pressure(self.memory.pressure)

    def on_turn_chosen(self, event: TurnChosen) -> None:
        """Note which turn was chosen."""
        self.chosen.append(event.turn)


def text_of(widget: Widget) -> str:
    """What the widget shows, line by line."""
    lines = widget.render_lines(Region(0, 0, widget.size.width, widget.size.height))
    return "\n".join(line.text.rstrip() for line in lines)


def colours_of(widget: Widget) -> set[str]:
    """The foreground colours in a widget's drawing, as "#rrggbb"."""
    lines = widget.render_lines(Region(0, 0, widget.size.width, widget.size.height))
    styles = [segment.style for line in lines for segment in line if segment.style is not None]
    return {
        style.color.triplet.hex for style in styles if style.color is not None and style.color.triplet is not None
    }  # fmt: skip
