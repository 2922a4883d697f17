"""A dialog that is open while something is waited for."""

from collections.abc import Callable

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.text import visible

LOOK_EVERY_S = 0.25


class Waiting(ModalScreen[None]):
    """Calls `look` now and then until it is dismissed, by what `look` finds or by the person."""

    BINDINGS = [Binding("escape", "leave", "Close", show=False)]

    def __init__(self, what: str, look: Callable[[], object]) -> None:
        super().__init__()
        self._what, self._look = what, look

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog small"):
            yield Static(Content(visible(self._what)), classes="address")
            yield Static(Content("Esc ends the waiting"), classes="hint")

    def on_mount(self) -> None:
        """Look for the first time a moment later."""
        self.set_interval(LOOK_EVERY_S, self._look)

    def action_leave(self) -> None:
        """Wait no longer."""
        self.dismiss()
