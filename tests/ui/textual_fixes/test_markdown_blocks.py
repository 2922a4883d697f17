"""Blocks of a Markdown text that grows: a paragraph leaves room below, and a cell's tooltip is text."""

from textual.app import App, ComposeResult
from textual.widgets import Markdown, Tooltip

from chatapp.ui.textual_fixes.markdown_blocks import GrowingParagraph, tame_tooltips
from chatapp.ui.textual_fixes.steady import STEP
from chatapp.ui.widgets.transcript.markdown_stream import SafeMarkdown

TABLE = "| [/red] | b |\n|---|---|\n| [/nope] | c |\n"


class Page(App[None]):
    """A text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.markdown = SafeMarkdown(text)

    def compose(self) -> ComposeResult:
        """It."""
        yield self.markdown


async def test_only_the_last_paragraph_leaves_room_and_only_while_it_grows() -> None:
    app = Page("one\n\ntwo\n")
    app.markdown.grows = True
    async with app.run_test() as pilot:
        await pilot.pause()
        first, last = app.markdown.query(GrowingParagraph)
        assert (first.size.height, last.size.height) == (1, STEP)
        app.markdown.grows = False
        await app.markdown.update("one\n\ntwo\n")
        await pilot.pause()
        assert [block.size.height for block in app.markdown.query(GrowingParagraph)] == [1, 1]


async def test_a_tooltip_that_is_no_markup_is_shown_as_it_is() -> None:
    app = Page(TABLE)
    async with app.run_test(tooltips=True) as pilot:
        await pilot.pause()
        tame_tooltips(app.markdown)
        await pilot.hover(Markdown, offset=(4, 3))
        for _ in range(100):
            await pilot.pause(0.02)
            if "[/nope]" in str(app.screen.query_one(Tooltip).render()):
                return
        raise AssertionError("no tooltip")
