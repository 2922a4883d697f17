"""The side panel, beside or over the chat, that holds the inspector, and the edge that a mouse drags."""

from rich.segment import Segment
from textual import events
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from chatapp.ui.layout import fitting


class Edge(Widget):
    """The left edge, one column wide; the mouse can drag it."""

    DEFAULT_CSS = """
    Edge { width: 1; height: 1fr; color: $panel; background: $surface; }
    Edge:hover, Edge.-dragged { color: $primary; }
    """

    class Dragged(Message):
        """The edge was dragged to this column of the screen; `done` when the button is released."""

        def __init__(self, column: int, *, done: bool) -> None:
            super().__init__()
            self.column = column
            self.done = done

    def render_line(self, y: int) -> Strip:
        """A thin line, or a thick one while the mouse is on it, which shows without colour too."""
        thick = self.mouse_hover or self.has_class("-dragged")
        return Strip([Segment("▌" if thick else "▏", self.rich_style)], 1)

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Begin to drag."""
        event.stop()
        self.add_class("-dragged")
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Follow the mouse. If its button is up, another widget got the release before the mouse was captured."""
        if self.has_class("-dragged"):
            event.stop()
            if event.button:
                self.post_message(self.Dragged(event.screen_x, done=False))
            else:
                self._let_go()

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """End the drag."""
        if self.has_class("-dragged"):
            event.stop()
            self._let_go()
            self.post_message(self.Dragged(event.screen_x, done=True))

    def _let_go(self) -> None:
        self.remove_class("-dragged")
        self.release_mouse()


class Side(Horizontal):
    """As wide as was asked for, as far as the screen allows. Posts `Sized` when a person has dragged its edge."""

    DEFAULT_CSS = "Side { height: 1fr; }"

    class Sized(Message):
        """A person wants this width, in columns."""

        def __init__(self, width: int) -> None:
            super().__init__()
            self.width = width

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._wanted = 0
        self._over = False

    def compose(self) -> ComposeResult:
        """The edge; the owner mounts the content."""
        yield Edge()

    def fit(self, wanted: int, *, over: bool) -> None:
        """Take this width, beside the chat or `over` it, as far as the screen allows."""
        self._wanted, self._over = wanted, over
        self.styles.width = fitting(wanted, self.screen.size.width, over=over)

    def on_edge_dragged(self, event: Edge.Dragged) -> None:
        """Follow the mouse, within the widths that fit."""
        event.stop()
        columns = self.screen.size.width
        self.fit(fitting(columns - event.column, columns, over=self._over), over=self._over)
        if event.done:
            self.post_message(self.Sized(self._wanted))
