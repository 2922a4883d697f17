"""The red line that says that ledger and cache disagree."""

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from chatapp.engine.protocol import Snapshot
from chatapp.text import visible
from chatapp.ui.cells import disagreement
from chatapp.ui.widgets import paint


class Mismatch(Widget):
    """Names the disagreement; takes no room while there is none."""

    DEFAULT_CSS = """
    Mismatch { display: none; width: 1fr; height: auto; margin-bottom: 1; }
    Mismatch.-shown { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._why = ""

    def show_snapshot(self, snapshot: Snapshot | None) -> None:
        """Appear or go away."""
        why = (disagreement(snapshot) if snapshot is not None else None) or ""
        if why != self._why:
            self._why = why
            self.set_class(bool(why), "-shown")
            self.refresh(layout=True)

    def render(self) -> Content:
        """The reason, in the theme's mismatch colour and reversed, so that it is seen without colour too."""
        colours = paint.palette_of(self)
        style = Style(foreground=None if colours.plain else colours.colour("mismatch"), bold=True, reverse=True)
        return Content.styled(f" The picture is wrong: {visible(self._why)} ", style)
