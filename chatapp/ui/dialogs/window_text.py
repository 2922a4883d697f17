"""The very text of the window, over the chat."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.presentation import window_text
from chatapp.ui.base_app import BaseApp
from chatapp.ui.widgets.text_lines import TextLines

if TYPE_CHECKING:
    from chatapp.protocol.window_text import WindowShown


class WindowText(ModalScreen[None]):
    """Asks the engine when it opens, and again with `r`; Escape closes."""

    app: BaseApp  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed
    BINDINGS = [
        Binding("escape,q", "leave", "Close", show=False),
        Binding("c,y", "copy", "Copy", show=False),
        Binding("r", "read_again", "Read it again", show=False),
    ]

    def __init__(self, ask: Callable[[], None]) -> None:
        """`ask` has the engine tell the text; `take` gets the answer."""
        super().__init__()
        self._ask = ask
        self._shown: WindowShown | None = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog whole"):
            yield Static(Content("The text of the window"), id="of-window", classes="title")
            yield TextLines()
            yield Static(Content("Up/Down, PageUp/PageDown scroll · c copies · r reads it again · Esc closes"),
                         classes="hint")  # fmt: skip

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        lines = self.query_one(TextLines)
        lines.focus()
        lines.show_lines([(window_text.Span("Waiting for the engine…", window_text.SIGN),)])
        self._ask()

    def take(self, event: "WindowShown") -> None:
        """The engine has answered."""
        self._shown = event
        n_tokens = sum(part.tokens or 0 for part in event.parts)
        self.query_one("#of-window", Static).update(Content(window_text.title(n_tokens, event.n_ctx)))
        lines = window_text.lines(event.parts, event.ghosts, event.pending)
        empty = [(window_text.Span("Nothing is in the cache yet.", window_text.SIGN),)]
        self.query_one(TextLines).show_lines(lines or empty)

    def action_copy(self) -> None:
        """Copy the text without headings and signs."""
        if self._shown is not None:
            self.app.copy(window_text.whole(self._shown.parts), "the text of the window")

    def action_read_again(self) -> None:
        """Ask the engine again."""
        self._ask()

    def action_leave(self) -> None:
        """Return to the chat."""
        self.dismiss(None)
