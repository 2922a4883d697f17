"""The base of small drawings made from the newest snapshot."""

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from chatapp.protocol.events import Snapshot
from chatapp.ui.widgets.inspector import paint


def displayed(widget: Widget) -> bool:
    """True unless the widget, or one that contains it, is not displayed.

    Refreshing a hidden one makes Textual 8.2.8 lay out every widget of the screen when any region is next read.
    """
    return all(node.display for node in widget.ancestors_with_self if isinstance(node, Widget))


class SnapshotLine(Widget):
    """Base of small drawings that need the newest snapshot and the theme's colours."""

    DEFAULT_CSS = "SnapshotLine { width: 1fr; height: 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.snapshot: Snapshot | None = None
        self._drawn: list[Strip] = []

    def show_snapshot(self, snapshot: Snapshot | None) -> None:
        """Draw this snapshot from now on."""
        self.snapshot = snapshot
        self.redraw()

    def redraw(self) -> None:
        """Draw what is known now, if it looks different and is displayed."""
        if displayed(self) and (lines := [self.render_line(y) for y in range(self.size.height)]) != self._drawn:
            self._drawn = lines
            self.refresh()

    def on_show(self) -> None:
        """Catch up with what changed meanwhile."""
        self.refresh()

    @property
    def colours(self) -> paint.Palette:
        """The theme's cell colours, as they are now."""
        return paint.palette_of(self)

    def strip(self, segments: list[Segment]) -> Strip:
        """Segments as one line of this widget, cut or filled to its width."""
        base = self.visual_style.rich_style
        return Strip(segments).apply_style(base).adjust_cell_length(self.size.width, base)
