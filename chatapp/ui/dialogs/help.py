"""F1: every key and command, from the registry and the keys in force, and the help of the focused widget."""

from collections.abc import Mapping

from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.ui.action_table import ACTIONS, Action, shown_keys

PLACES = {
    "screen": "Everywhere",
    "prompt": "In the prompt",
    "transcript": "In the transcript",
    "inspector": "In the inspector",
}
REPLAY_PLACES = {"replay": "In a replay", "inspector": "In the inspector"}


class Help(ModalScreen[None]):
    """Closed with Escape or F1."""

    BINDINGS = [Binding("escape,f1,q", "leave", "Close", show=False)]

    def __init__(self, keys: Mapping[str, str], focused: str, places: Mapping[str, str] = PLACES) -> None:
        """`keys` are the person's own keys by action id; `focused` is the help text of the focused widget.

        `places` maps the places whose actions are shown to their titles.
        """
        super().__init__()
        self._keys = keys
        self._focused = focused
        self._places = places

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog large"):
            yield Static(Content("Keys and commands"), classes="title")
            with VerticalScroll(id="help"):
                if self._focused:
                    yield Static(Content(self._focused), classes="about")
                for place, title in self._places.items():
                    actions = [action for action in ACTIONS if action.place == place]
                    yield Static(Content(title), classes="place")
                    yield from (self._row(action) for action in actions)
                yield Static(Content("Ctrl+P opens the command palette. The ids at the right are the names for"
                                     " `keys:` in the config. Type // to send a message that starts with /."),
                             classes="about")  # fmt: skip
            yield Static(Content("Esc closes"), classes="hint")

    def on_mount(self) -> None:
        """Arrow keys scroll at once."""
        self.query_one("#help").focus()

    def action_leave(self) -> None:
        """Return to the chat."""
        self.dismiss(None)

    def _row(self, action: Action) -> Horizontal:
        keys = shown_keys(self._keys.get(action.id, action.keys))
        slash = " ".join(f"/{name}" for name in action.slash)
        argument = f" {action.argument}" if action.argument else ""
        return Horizontal(
            Static(Content(keys), classes="keys"),
            Static(Content(action.help), classes="what"),
            Static(Content.assemble((f"{slash}{argument}  " if slash else "", "$text-accent"), (action.id, "dim"))),
            classes="row",
        )
