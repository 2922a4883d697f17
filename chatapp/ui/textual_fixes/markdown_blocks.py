"""Two changed kinds of Textual's Markdown blocks, whose classes are private.

In Textual 8.2.8 a paragraph lays out the screen with each word that is appended, and a table cell reads its own words
as the markup of a tooltip, so that a broken tag in a table ends the program. The first can be removed when `Static`
requests a layout only if its height changes, the second when a cell's tooltip is Content.
"""

from textual.content import Content
from textual.widget import Widget
from textual.widgets._markdown import MarkdownParagraph, MarkdownTableCellContents

from chatapp.ui.textual_fixes.steady import Steady, SteadyStatic


class GrowingParagraph(MarkdownParagraph, SteadyStatic):
    """A paragraph that reserves lines below itself while it is the last one of a growing text."""

    def is_growing(self) -> bool:
        """True for the last one."""
        return isinstance(text := self.parent, Steady) and text.is_growing() and text.children[-1] is self


def tame_tooltips(within: Widget) -> None:
    """Have the tooltip of each table cell show the cell's text as it is."""
    for cell in within.query(MarkdownTableCellContents):
        if isinstance(cell.tooltip, str):
            cell.tooltip = Content(cell.tooltip)
