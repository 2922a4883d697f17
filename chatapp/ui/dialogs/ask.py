"""Small questions: a line to fill in, a link to inspect before it is opened, and a confirmation."""

from typing import Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from chatapp.text import LONGEST_SENTENCE, one_line


class AskLine(ModalScreen[str | None]):
    """Dismissed with the line, or None."""

    BINDINGS = [Binding("escape", "leave", "Close", show=False)]

    def __init__(self, title: str, value: str = "") -> None:
        super().__init__()
        self._title, self._value = title, value

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog small"):
            yield Static(Content(self._title), classes="title")
            yield Input(self._value, id="answer")
            yield Static(Content("Enter confirms · Esc cancels"), classes="hint")

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip() or None)

    def action_leave(self) -> None:
        """Change nothing."""
        self.dismiss(None)


class AskYes(ModalScreen[bool]):
    """Shows what the matter is; dismissed with True to proceed."""

    BINDINGS = [
        Binding("escape", "leave", "Close", show=False),
        Binding("enter", "go_on", "Proceed", show=False),
    ]

    def __init__(self, what: str, hint: str) -> None:
        """`hint` says what Enter and Esc do."""
        super().__init__()
        self._what, self._keys = what, hint

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog small"):
            yield Static(Content(one_line(self._what, LONGEST_SENTENCE)), classes="address")
            yield Static(Content(self._keys), classes="hint")

    def action_go_on(self) -> None:
        """Yes."""
        self.dismiss(True)

    def action_leave(self) -> None:
        """No."""
        self.dismiss(False)


class AskLink(ModalScreen[Literal["open", "copy"] | None]):
    """Shows the whole address of a link, as its text may claim another one. Dismissed with what to do."""

    BINDINGS = [
        Binding("escape", "leave", "Close", show=False),
        Binding("enter", "open", "Open", show=False),
        Binding("c", "copy", "Copy", show=False),
    ]

    def __init__(self, address: str) -> None:
        super().__init__()
        self._address = address

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog small"):
            yield Static(Content("The reply links to"), classes="title")
            yield Static(Content(one_line(self._address, LONGEST_SENTENCE)), classes="address")
            opens = "Enter opens it · " if self._opens else ""
            yield Static(Content(f"{opens}c copies it · Esc cancels"), classes="hint")

    @property
    def _opens(self) -> bool:
        """Only web addresses are opened: a `file:` or an application's own scheme might run something."""
        return self._address.startswith(("https://", "http://"))

    def action_open(self) -> None:
        """Open the link."""
        if self._opens:
            self.dismiss("open")

    def action_copy(self) -> None:
        """Copy the address."""
        self.dismiss("copy")

    def action_leave(self) -> None:
        """Close the dialog."""
        self.dismiss(None)
