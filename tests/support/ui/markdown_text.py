"""What a person reads of a Markdown text, and a screen to read it from."""

import re

from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.pilot import Pilot

from chatapp.ui.widgets.transcript.markdown_parser import safe_parser
from chatapp.ui.widgets.transcript.markdown_stream import StreamedMarkdown
from tests.support.ui.chat_app import until

MARKS = "*_~`#>+|:-"
"""What may be markup, and then is not shown."""


class Reply(App[None]):
    """A reply and nothing else; it can be replaced."""

    CSS = "StreamedMarkdown, .tail { height: auto; width: 1fr; }"

    def __init__(self) -> None:
        super().__init__()
        self.body = StreamedMarkdown()

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield self.body

    async def begin(self) -> None:
        """Another reply, empty as yet."""
        await self.body.remove()
        self.body = StreamedMarkdown()
        await self.query_one(VerticalScroll).mount(self.body)

    async def draw(self, pilot: Pilot[None], text: str) -> list[str]:
        """The lines on the screen when the reply is `text`, without those that are empty."""
        self.body.finish(text)
        return await self.drawn(pilot)

    async def drawn(self, pilot: Pilot[None]) -> list[str]:
        """The lines on the screen when all that came is drawn."""
        await until(pilot, lambda: self.body.settled)
        await pilot.pause()
        strips = self.screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage] - there is no public way
        return [line for strip in strips if (line := strip.text.rstrip())]


def parsed(text: str) -> str:
    """The characters that the parser leaves of a text, in order; without bullets, which are the widget's."""
    shown: list[str] = []
    for token in safe_parser().parse(text):
        if token.type == "list_item_open":
            shown.append(token.info + token.markup if token.info else "")
        elif token.type in ("fence", "code_block"):
            shown.append(token.content)
        shown += ["\n" if child.type == "hardbreak" else child.content for child in token.children or ()]
    return "".join(shown)


def without_marks(text: str) -> str:
    """The text without space and without what may be markup."""
    return re.sub(rf"[\s{re.escape(MARKS)}]", "", text)
