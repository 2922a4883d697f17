"""A long text that scrolls: only the rows on the screen are drawn."""

import re
from collections.abc import Iterator, Sequence
from typing import ClassVar

from rich.cells import cell_len, chop_cells
from rich.segment import Segment
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from chatapp.presentation.window_text import GAP, HEADING, SIGN, SPECIAL, Line, Span

_WORDS = re.compile(r"\S+\s*|\s+")


class TextLines(ScrollView, can_focus=True):
    """Lines of styled spans, broken at words to the widget's width."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"text-lines--{style}" for style in (SPECIAL, HEADING, GAP, SIGN)}
    DEFAULT_CSS = """
    TextLines { height: 1fr; background: $surface; scrollbar-size-vertical: 1; scrollbar-color: $panel;
                scrollbar-background: $surface; overflow-x: hidden; }
    TextLines .text-lines--special { color: $text-accent; text-style: bold; }
    TextLines .text-lines--heading { color: $text-primary; text-style: bold; }
    TextLines .text-lines--gap { color: $text-warning; text-style: italic; }
    TextLines .text-lines--sign { color: $text-muted; text-style: dim; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._lines: Sequence[Line] = ()
        self._rows: list[Line] = []
        self._width = 0

    def show_lines(self, lines: Sequence[Line]) -> None:
        """Show these; the place where a person has scrolled to stays."""
        self._lines = lines
        self._fold()

    def on_resize(self) -> None:
        """Break the lines anew."""
        if self.scrollable_content_region.width != self._width:
            self._fold()

    def _fold(self) -> None:
        self._width = self.scrollable_content_region.width
        if self._width > 0:
            self._rows = [row for line in self._lines for row in folded(line, self._width)]
            self.virtual_size = Size(self._width, len(self._rows))
            self.refresh()

    def render_line(self, y: int) -> Strip:
        """See Widget: one row of the screen."""
        row = y + self.scroll_offset.y
        if row >= len(self._rows):
            return Strip.blank(self.size.width, self.rich_style)
        segments = [
            Segment(text, self.get_component_rich_style(f"text-lines--{style}") if style != "text" else self.rich_style)
            for text, style in self._rows[row]
        ]
        return Strip(segments).adjust_cell_length(self.size.width, self.rich_style)


def folded(line: Line, width: int) -> Iterator[Line]:
    """The line in rows of at most `width` cells, broken before a word where that is possible.

    >>> [row for row in folded((Span("one two", "text"), Span("three", "special")), 5)]
    [(Span(text='one ', style='text'),), (Span(text='two', style='text'),), (Span(text='three', style='special'),)]
    """
    if sum(cell_len(text) for text, _ in line) <= width:
        yield line
        return
    row: list[Span] = []
    used = 0
    for text, style in line:
        for word in _WORDS.findall(text):
            size = cell_len(word)
            if used and used + size > width:
                yield tuple(row)
                row, used = [], 0
            for chunk in [word] if size <= width else chop_cells(word, width):
                size = cell_len(chunk)
                if used and used + size > width:
                    yield tuple(row)
                    row, used = [], 0
                if row and row[-1].style == style:
                    row[-1] = Span(row[-1].text + chunk, style)
                else:
                    row.append(Span(chunk, style))
                used += size
    if row:
        yield tuple(row)
