"""The base of the inspector's text panels: rows made from what was observed, for the present width."""

from typing import ClassVar

from rich.cells import cell_len
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget

from chatapp.presentation.observed import Observed
from chatapp.ui.widgets.inspector import paint

LABEL_WIDTH = 9


class Panel(Widget):
    """Rows of text. A subclass provides them and, in `HELP`, says what they show and how that was measured."""

    DEFAULT_CSS = "Panel { width: 1fr; height: auto; text-wrap: nowrap; text-overflow: ellipsis; }"
    HELP: ClassVar[str | None]

    def __init__(self) -> None:
        super().__init__()
        self._observed = Observed()
        self._drawn: list[Content] = []

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """The lines of the panel; none here."""
        del observed, width
        return []

    def summary(self, observed: Observed) -> str:
        """The text in the panel's title, after its name; nothing here."""
        del observed
        return ""

    def look(self, observed: Observed) -> None:
        """Draw what is observed now, if it differs; lay out again only if the number of rows changes."""
        self._observed = observed
        rows = self.rows(observed, self.content_size.width)
        # Equal contents may differ in colour: only `is_same` compares that too.
        as_long = len(rows) == len(self._drawn)
        if not as_long or not all(new.is_same(old) for new, old in zip(rows, self._drawn, strict=True)):
            self.refresh(layout=not as_long)
            self._drawn = rows

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """One line for each row."""
        return len(self.rows(self._observed, width))

    def render(self) -> Content:
        """The rows, for the present width and theme."""
        return Content("\n").join(self.rows(self._observed, self.content_size.width))

    @property
    def colours(self) -> paint.Palette:
        """The theme's cell colours, as they are now."""
        return paint.palette_of(self)


def labelled(label: str, *values: str | Content) -> Content:
    """A muted label, then the values."""
    return Content.assemble((label.ljust(LABEL_WIDTH), "dim"), *values)


def columns(label: str, values: list[str], width: int) -> Content:
    """A muted label, then right-aligned columns that share the rest of the width."""
    each = max(8, (width - LABEL_WIDTH) // max(1, len(values)))
    return labelled(label, "".join(" " * (each - cell_len(value)) + value for value in values))
