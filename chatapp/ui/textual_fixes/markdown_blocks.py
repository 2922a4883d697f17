"""Changed kinds of Textual's Markdown blocks, whose classes are private.

In Textual 8.2.8 a paragraph lays out the screen with each word that is appended. A table cell reads its own words as
the markup of a tooltip, so that a broken tag in a table ends the program; and beside a long word in a table, other
columns become so narrow that nothing is seen of them. An ordered list counts by itself, and drops the numbers and
brackets that were written. The first can be removed when `Static` requests a layout only if its height changes, the
second when a cell's tooltip is Content, the third when a grid's columns keep a minimum, the last when a list shows the
numbers of its items.
"""

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.css.styles import RulesMap
from textual.widget import Widget
from textual.widgets._markdown import (
    MarkdownBullet,
    MarkdownListItem,
    MarkdownOrderedList,
    MarkdownParagraph,
    MarkdownTableCellContents,
    MarkdownTD,
    MarkdownTH,
)

from chatapp.ui.textual_fixes.steady import Steady, SteadyStatic

NARROWEST_CELL = 4
WIDEST_WORD = 20
"""Columns of the terminal that a cell wants; a longer word goes on in the next line where that is all there is."""


class GrowingParagraph(MarkdownParagraph, SteadyStatic):
    """A paragraph that reserves lines below itself while it is the last one of a growing text."""

    def is_growing(self) -> bool:
        """True for the last one."""
        return isinstance(text := self.parent, Steady) and text.is_growing() and text.children[-1] is self


class CellText(Content):
    """The text of a cell, whose column is wide enough to be read, if not for its longest word."""

    def get_minimal_width(self, rules: RulesMap) -> int:
        """In columns of the terminal."""
        return min(max(super().get_minimal_width(rules), NARROWEST_CELL), WIDEST_WORD)


class ReadableCell(MarkdownTD):
    """A cell of a table that stays readable beside a long word."""

    def set_content(self, content: Content) -> None:
        """Show `content`."""
        super().set_content(CellText(content.plain, list(content.spans)))


class ReadableHeader(MarkdownTH):
    """The same for the cell of a header."""

    def set_content(self, content: Content) -> None:
        """Show `content`."""
        super().set_content(CellText(content.plain, list(content.spans)))


class NumberedAsWritten(MarkdownOrderedList):
    """An ordered list with the numbers that were written: `7)` is 7) wherever it stands."""

    def compose(self) -> ComposeResult:
        """As Textual does it, but for the numbers."""
        items = [item for item in self._blocks if isinstance(item, MarkdownListItem)]
        numbers = [f"{item.bullet}{item._token.markup} " for item in items]
        width = max(map(len, numbers), default=0)
        for item, number in zip(items, numbers, strict=True):
            bullet = MarkdownBullet()
            bullet.symbol = number.rjust(width + 1)
            yield Horizontal(bullet, Vertical(*item._blocks))
        self._blocks.clear()


def tame_tooltips(within: Widget) -> None:
    """Have the tooltip of each table cell show the cell's text as it is."""
    for cell in within.query(MarkdownTableCellContents):
        if isinstance(cell.tooltip, str):
            cell.tooltip = Content(cell.tooltip)
