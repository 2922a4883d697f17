"""The red line that appears when the ledger and the cache disagree."""

from textual.content import Content
from textual.style import Style
from textual.widget import Widget

from chatapp.presentation.cache_map.cells import disagreement
from chatapp.presentation.observed import Observed
from chatapp.text import LONGEST_SENTENCE, one_line
from chatapp.ui.widgets.inspector import paint


class Mismatch(Widget):
    """Names the disagreement; takes no space while there is none."""

    DEFAULT_CSS = """
    Mismatch { display: none; width: 1fr; height: auto; margin-bottom: 1; }
    Mismatch.-shown { display: block; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._why = ""

    def look(self, observed: Observed) -> None:
        """Show or hide. What a look found is shown until another look no longer finds it."""
        found = [None if observed.snapshot is None else disagreement(observed.snapshot)]
        if (look := observed.probed) is not None and look.mismatch is not None:
            found.append(f"as read from llama.cpp at position {look.pos:,}: {look.mismatch}")
        why = "; ".join(one for one in found if one)
        if why != self._why:
            self._why = why
            self.set_class(bool(why), "-shown")
            self.refresh(layout=True)

    def render(self) -> Content:
        """The reason, in the theme's mismatch colour and reversed, so that it stands out without colour too."""
        colours = paint.palette_of(self)
        style = Style(foreground=None if colours.plain else colours.colour("mismatch"), bold=True, reverse=True)
        return Content.styled(f" The cache map is wrong: {one_line(self._why, LONGEST_SENTENCE)} ", style)
