"""The base of the small drawings made from the newest snapshot."""

from rich.segment import Segment
from textual.strip import Strip
from textual.widget import Widget

from chatapp.engine.protocol import Snapshot
from chatapp.ui.widgets import paint


class SnapshotLine(Widget):
    """Base of the small drawings that need the newest snapshot and the theme's colours."""

    DEFAULT_CSS = "SnapshotLine { width: 1fr; height: 1; }"

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.snapshot: Snapshot | None = None

    def show_snapshot(self, snapshot: Snapshot | None) -> None:
        """Draw this snapshot from now on."""
        self.snapshot = snapshot
        self.refresh()

    @property
    def colours(self) -> paint.Palette:
        """The theme's cell colours, as they are now."""
        return paint.palette_of(self)

    def strip(self, segments: list[Segment]) -> Strip:
        """Segments as one line of this widget, cut or filled to its width."""
        base = self.visual_style.rich_style
        return Strip(segments).apply_style(base).adjust_cell_length(self.size.width, base)
