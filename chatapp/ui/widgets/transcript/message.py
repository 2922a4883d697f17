"""The widgets of one message and of one notice in the transcript."""

import re
from typing import TYPE_CHECKING

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.widgets import Static

from chatapp.presentation import notices
from chatapp.presentation.visibility import LABELS, Visibility
from chatapp.text import LONGEST_SENTENCE, one_line, visible
from chatapp.ui.textual_fixes.steady import Steady
from chatapp.ui.widgets.transcript.thoughts import Shown, ThoughtsView

if TYPE_CHECKING:
    from chatapp.chat.conversation import ChatMessage
    from chatapp.ui.widgets.transcript.markdown_stream import StreamedMarkdown

MAX_SHOWN_CHARS = 20_000
"""A longer message of a person is shortened: a pasted book would be laid out again with every resize."""

_CODE = re.compile(r"^[ \t]*(`{3,}|~{3,})[^\n]*\n(.*?)(?:^[ \t]*\1[`~]*[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)


def last_code_block(text: str) -> str | None:
    """The text inside the last fenced code block, even an unclosed one; None if there is none."""
    blocks = [match[2] for match in _CODE.finditer(text)]
    return blocks[-1].removesuffix("\n") if blocks else None


class MessageView(Vertical, Steady):
    """A message: its author, how much of it the model sees, its text; over a reply its thoughts, under it its cost.

    The left edge shows by shape and colour how much the model sees; anything but all of it is also written out.
    """

    class Chosen(Message):
        """A person clicked on this message."""

        def __init__(self, view: "MessageView") -> None:
            super().__init__()
            self.view = view

    def __init__(
        self, said: "ChatMessage", *, markdown: bool = True, show_stats: bool = True, thoughts: Shown = "folded"
    ) -> None:
        super().__init__(classes=f"{said.role} turn-{'a' if said.turn % 2 else 'b'} unknown")
        self.said = said
        self._show_stats = show_stats
        self._visibility = Visibility.UNKNOWN
        self._chosen = False
        self._head = Static(self._headline(), classes="head")
        # Made here and not in compose: a fast reply grows and ends before the message is mounted.
        text = visible(said.text)
        self._body = _body(text, markdown) if said.role == "assistant" else None
        self._plain = Static(_shortened(text), classes="body") if self._body is None else None
        self.thoughts = ThoughtsView(said, thoughts) if said.role == "assistant" else None
        self._foot = Static(classes="foot")
        self._show_foot()

    def compose(self) -> ComposeResult:
        yield self._head
        if self.thoughts is not None:
            yield self.thoughts
        body = self._body or self._plain
        if body is not None:
            yield body
        yield self._foot

    @property
    def visibility(self) -> Visibility:
        """How much of the message the model sees."""
        return self._visibility

    def show_visibility(self, visibility: Visibility) -> None:
        """Show how much of it the model sees now."""
        if visibility is self._visibility:
            return
        self.remove_class(self._visibility.value)
        self.add_class(visibility.value)
        self._visibility = visibility
        self._head.update(self._headline())

    def show_chosen(self, chosen: bool) -> None:
        """Show that it is selected, or not any more, without colour too."""
        self._chosen = chosen
        self.set_class(chosen, "chosen")
        self._head.update(self._headline())

    def grow(self, text: str, *, sparing: bool = True) -> None:
        """Add text to the reply, which may have more thoughts too; `sparing` as in FramePace."""
        if self.thoughts is not None:
            self.thoughts.update()
        if self._body is not None and text:
            self._body.feed(visible(text), sparing=sparing)

    def end(self) -> None:
        """The reply has ended: draw it once more as a whole, and then its cost."""
        if self.thoughts is not None:
            self.thoughts.update()
        if self._body is not None:
            self._body.finish(visible(self.said.text), self._show_foot)
        else:
            self._show_foot()

    def on_click(self, event: events.Click) -> None:
        """Select this message."""
        self.post_message(self.Chosen(self))

    def _headline(self) -> Content:
        who = "You" if self.said.role == "user" else "Model"
        label = LABELS.get(self._visibility)
        parts: list[Content | tuple[str, str]] = [("▸ " if self._chosen else "", "bold")]
        parts += [(who, "bold"), (f"  {self.said.turn}", "dim")]
        if self.said.others:
            parts.append((f"  ‹{self.said.number}/{len(self.said.others) + 1}›", ""))
        if label:
            parts.append((f"  {label}", "italic"))
        return Content.assemble(*parts)

    def _show_foot(self) -> None:
        said = self.said
        line = ""
        if said.state == "failed":
            line = visible(said.why) or "The reply failed. Ctrl+R generates another one."
        if said.stats is not None and self._show_stats:
            line = notices.stats(said.stats, said.stop_reason)
        elif said.state == "stopped":
            line = "stopped"
        if said.reasoning and not said.text and said.state != "growing":
            line = " · ".join(filter(None, ("no answer came", line)))
        self._foot.update(Content(line))
        self._foot.display = bool(line)


class NoticeView(Static):
    """One line from the program itself: an eviction, a rebuild, an engine that died."""

    MARKS = {"info": "·", "warning": "▲", "error": "✗"}

    def __init__(self, level: str, text: str) -> None:
        super().__init__(classes=f"notice {level}")
        self.level = level
        self.say(text)

    def say(self, text: str) -> None:
        """Replace the text."""
        self.text = text
        self.update(Content(f"{self.MARKS[self.level]} {one_line(text, LONGEST_SENTENCE)}"))


def _body(text: str, markdown: bool) -> "StreamedMarkdown":
    """Imported with the first reply: Markdown and its highlighter would take a fifth of the time to the first paint."""
    from chatapp.ui.widgets.transcript.markdown_stream import StreamedMarkdown

    return StreamedMarkdown(text, markdown=markdown)


def _shortened(text: str) -> Content:
    """A person's message; of a very long one its two ends, and the size of the rest. The model gets all of it."""
    if len(text) <= MAX_SHOWN_CHARS:
        return Content(text)
    half = MAX_SHOWN_CHARS // 2
    middle = text[half:-half]
    between = f"\n\n… {len(middle):,} characters, {middle.count(chr(10)):,} lines: sent, but not shown …\n\n"
    return Content.assemble(text[:half], (between, "dim italic"), text[-half:])
