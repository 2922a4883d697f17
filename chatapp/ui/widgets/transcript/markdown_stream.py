"""A reply drawn as Markdown while it grows, at a bounded cost however long it gets.

Measured on Textual 8.2.8: an append parses the last top-level block again, so a long code block costs 3 to 25 ms for
each append, and more with every line. Hence new text is collected and appended at the rate that a share of a
processor allows, a code block that is still open is drawn as plain text below the Markdown, and at the end one `update`
with the whole text corrects what could not be known while streaming.
"""

import re
import time
from collections import deque
from collections.abc import Callable

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.timer import Timer
from textual.widgets import Markdown
from textual.widgets.markdown import MarkdownBlock

from chatapp.ui.frame_pace import FramePace
from chatapp.ui.textual_fixes.markdown_blocks import (
    GrowingParagraph,
    NumberedAsWritten,
    ReadableCell,
    ReadableHeader,
    tame_tooltips,
)
from chatapp.ui.textual_fixes.steady import Steady, SteadyStatic
from chatapp.ui.widgets.transcript.markdown_parser import safe_parser, shown_info

INTERVAL_S = 0.125
"""An append that adds a line lays out the whole screen again, which is most of the cost of drawing a reply: 20 a second
took a fifth of a core from a model that decodes on two."""
SHARE = 0.02
"""The share of one processor that drawing a reply may take, however long it is, while the model needs it too."""

_FENCE = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)")
_FENCE_BEGUN = re.compile(r"[ \t>]*(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*(?:`+|~+)[^\n]*")


class FenceSplitter:
    """Holds back a code block until it is closed: `feed` returns what Markdown may draw, `held` is the rest.

    feed(a) + feed(b) + ... + held is always the whole text.
    """

    def __init__(self) -> None:
        self.held = ""
        self._line = ""
        """The last line, while it is incomplete: the part that was released already."""
        self._mark: str | None = None

    @property
    def code(self) -> str | None:
        """The lines of the open code block; None outside one."""
        if self._mark is None:
            return None
        opening, _, lines = self.held.partition("\n")
        fence = _FENCE.fullmatch(opening)
        info = shown_info(fence["info"]) if fence is not None else ""
        return f"{info}\n{lines}" if info else lines

    def feed(self, text: str) -> str:
        """Take more text; returns what may be appended now."""
        # Not splitlines: it also ends lines at form feeds and the like, which Markdown does not.
        return "".join([self._feed_piece(piece) for piece in re.findall(r"[^\n]*\n|[^\n]+", text)])

    def _feed_piece(self, piece: str) -> str:
        self._line += piece
        complete = piece.endswith("\n")
        line = self._line.removesuffix("\n")
        if complete:
            self._line = ""
        if self._mark is not None:
            self.held += piece
            bare = line.strip(" \t>")
            if complete and len(bare) >= len(self._mark) and not bare.strip(self._mark[0]):
                return self._release()
            return ""
        opening = _FENCE.fullmatch(line)
        if complete and opening is not None and "`" not in opening["info"]:
            self._mark = opening["mark"]
            self.held += piece
            return ""
        if not complete and _FENCE_BEGUN.fullmatch(line):
            self.held += piece
            return ""
        self.held += piece
        return self._release()

    def _release(self) -> str:
        released, self.held, self._mark = self.held, "", None
        return released


_CHANGED: dict[str, type[MarkdownBlock]] = {
    "paragraph_open": GrowingParagraph,
    "ordered_list_open": NumberedAsWritten,
    "td_open": ReadableCell,
    "th_open": ReadableHeader,
}


class SafeMarkdown(Markdown, Steady):  # pyright: ignore[reportIncompatibleMethodOverride]  as Markdown itself has it
    """Textual's Markdown for untrusted text: no HTML, no link that opens by itself, no markup."""

    DEFAULT_CSS = """
    SafeMarkdown MarkdownTableContent > .cell, SafeMarkdown MarkdownTableContent > .header { text-overflow: fold; }
    SafeMarkdown MarkdownBullet { height: auto; }
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(text or None, parser_factory=safe_parser, open_links=False)

    def with_room(self, height: int) -> int:
        """The paragraph reserves the lines."""
        return height

    def get_block_class(self, block_name: str) -> type[MarkdownBlock]:
        """Textual's class, except for those of markdown_blocks.py."""
        return _CHANGED.get(block_name) or super().get_block_class(block_name)


class StreamedMarkdown(Vertical, Steady):
    """The body of a reply: Markdown, and below it the open block. Pass `text` through chatapp.text.visible() first."""

    def __init__(self, text: str = "", *, markdown: bool = True) -> None:
        """If `markdown` is False, the text is shown as it is."""
        super().__init__()
        self._markdown = SafeMarkdown(text if markdown else "")
        self._tail = SteadyStatic(Content("" if markdown else text), classes="tail")
        self._tail.display = not markdown
        self._tail_text = ""
        self._plain: list[str] | None = None if markdown else [text]
        self._come: deque[str] = deque()
        self._splitter = FenceSplitter()
        self._final: str | None = None
        self._drawn: Callable[[], None] = lambda: None
        self._wait: Timer | None = None
        """The next tick."""
        self._drawing = False
        self._pace = FramePace(INTERVAL_S, SHARE)
        self._sparing = True

    def compose(self) -> ComposeResult:
        if self._plain is None:
            yield self._markdown
        yield self._tail

    def on_mount(self) -> None:
        """The initial text is drawn by now."""
        tame_tooltips(self)

    def feed(self, text: str, *, sparing: bool = True) -> None:
        """Add text; it is drawn at the next tick, which comes the later the more a drawing costs if `sparing`."""
        self._come.append(text)
        self._sparing = sparing
        if self._wait is None:
            self._tick_in(max(INTERVAL_S, self._pace.wait_s(time.monotonic(), sparing=self._sparing)))

    def finish(self, text: str, drawn: Callable[[], None] = lambda: None) -> None:
        """The reply is complete: draw `text` as a whole, then call `drawn`."""
        self._final, self._drawn = text, drawn
        if self._wait is not None:
            self._wait.stop()
        self._tick_in(0.0)

    @property
    def settled(self) -> bool:
        """True when all text is drawn."""
        return self._wait is None and not self._drawing

    def _tick_in(self, wait_s: float) -> None:
        if not self._drawing:
            self._wait = self.set_timer(max(wait_s, 0.001), self._tick)

    async def _tick(self) -> None:
        self._pace.begin(time.monotonic())
        began_s = time.thread_time()
        self._wait, self._drawing = None, True
        come = "".join(self._come)
        self._come.clear()
        final, self._final = self._final, None
        self._markdown.grows = self._tail.grows = final is None
        if self._plain is not None:
            self._draw_plain(come, final)
        elif final is not None:
            self._tail.display = False
            await self._markdown.update(final)
        elif come:
            await self._append(come)
        if final is not None:
            self._drawn()
        tame_tooltips(self)
        # Only after the refresh is it known what the drawing cost. Nothing else waits for that: Textual 8.2.8 has the
        # topmost screen call back, and never does where that is a dialog which is closed just then.
        self.call_after_refresh(lambda: self._pace.end(time.thread_time() - began_s))
        self._drawing = False
        if self._final is not None:
            self._tick_in(0.0)
        elif self._come:
            self._tick_in(self._pace.wait_s(time.monotonic(), sparing=self._sparing))

    async def _append(self, come: str) -> None:
        through = self._splitter.feed(come)
        if through:
            await self._markdown.append(through)
        code = self._splitter.code
        tail = (self._splitter.held if code is None else code).rstrip("\n")
        if tail == self._tail_text:
            return  # to draw it would lay out the screen once more
        self._tail_text = tail
        self._tail.set_class(code is not None, "open-fence")
        self._tail.display = bool(tail.strip())
        self._tail.update(Content(tail))

    def _draw_plain(self, come: str, final: str | None) -> None:
        assert self._plain is not None
        self._plain = [final] if final is not None else [*self._plain, come]
        self._tail.update(Content("".join(self._plain)))
