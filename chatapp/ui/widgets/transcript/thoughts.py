"""What a model thought before a reply: one line, and under it the thoughts while it is unfolded."""

from typing import TYPE_CHECKING, Literal

from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Static

from chatapp.presentation.format import plural
from chatapp.text import visible

if TYPE_CHECKING:
    from chatapp.chat.conversation import ChatMessage

Shown = Literal["folded", "open", "hidden"]
"""How thoughts are shown until a person folds or unfolds them: as one line, in full, or not at all."""
LATEST_CHARS = 2_000
"""While a model thinks, no more than the latest of its thoughts are drawn: each piece lays them out again."""
MAX_SHOWN_CHARS = 40_000
"""Longer thoughts are shown from their end: it leads to the answer."""


def thoughts_line(said: "ChatMessage") -> str:
    """How long it is thinking, or thought: seconds where they were seen, tokens where they are known."""
    tokens = said.stats.reasoning_tokens if said.stats is not None else said.thought_tokens
    seconds = "" if said.thought_s is None else f"{said.thought_s:.0f} s"
    counted = plural(tokens, "token") if tokens else ""
    if said.thinking:
        return " · ".join(filter(None, ("thinking", seconds, counted)))
    return " · ".join(filter(None, (f"thought for {seconds}" if seconds else "thought", counted)))


class ThoughtsView(Vertical):
    """See the module. Without thoughts nothing of it is there."""

    def __init__(self, said: "ChatMessage", shown: Shown) -> None:
        super().__init__(classes="thoughts")
        self._said, self._shown = said, shown
        self._line, self._body = Static(classes="line"), Static(classes="thought")
        self.update()

    def compose(self) -> ComposeResult:
        yield self._line
        yield self._body

    def update(self) -> None:
        """Show what there is now."""
        said, unfolded = self._said, self._shown == "open"
        self.display = bool(said.reasoning) and self._shown != "hidden"
        if self.display:
            self._line.update(Content(f"{thoughts_line(said)} {'▾' if unfolded else '▸'}"))
            self._body.display = unfolded
            if unfolded:
                self._body.update(Content(_ending(said)))

    def toggle(self) -> None:
        """Fold the thoughts, or unfold them."""
        self._shown = "folded" if self._shown == "open" else "open"
        self.update()

    def on_click(self, event: events.Click) -> None:
        """A click on the line folds or unfolds; one on the thoughts selects the message, as anywhere in it."""
        if event.widget is self._line:
            event.stop()
            self.toggle()


def _ending(said: "ChatMessage") -> str:
    text, most = said.reasoning.strip(), LATEST_CHARS if said.thinking else MAX_SHOWN_CHARS
    return visible(text if len(text) <= most else f"… {text[-most:]}")
