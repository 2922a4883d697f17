"""Where what is typed in the chat goes: into the prompt, unless a mode in which single keys act was asked for.

There are two such modes: F8 for messages, F9 for the panels of the inspector (a zoomed panel, which covers the prompt,
is in it, too). The status bar names the mode and the prompt's border its keys. Whatever else has the focus (Tab gives
it to what can be scrolled) obeys arrows and the like; letters, pastes and the keys that edit go to the prompt.
"""

from collections.abc import Mapping
from enum import Enum

from textual import events
from textual.binding import Binding
from textual.screen import Screen
from textual.widgets import TextArea

from chatapp.ui.action_table import BY_ID, bindings, shown_keys
from chatapp.ui.actions.inspector import panel_hint
from chatapp.ui.actions.window import chosen_hint
from chatapp.ui.inspector_pane import InspectorPane
from chatapp.ui.screens.chat_view import ChatView

EDITING = frozenset(
    key
    for binding in (*TextArea.BINDINGS, *bindings("prompt"))
    for key in (binding.key if isinstance(binding, Binding) else binding[0]).split(",")
)
"""Keys that mean something in the prompt and are no letters."""


class Mode(Enum):
    """What single keys act on; the value is what the status bar says."""

    NOTHING = ""
    MESSAGES = "message keys"
    PANELS = "panel keys"


class TypingTarget:
    """See the module."""

    def __init__(self, screen: Screen[None], view: ChatView, pane: InspectorPane, keys: Mapping[str, str]) -> None:
        """`keys` are the person's own."""
        self._screen, self._view, self._pane, self._keys = screen, view, pane, keys

    @property
    def mode(self) -> Mode:
        """The present one."""
        if self._view.transcript.takes_keys:
            return Mode.MESSAGES
        return Mode.PANELS if self._pane.takes_keys else Mode.NOTHING

    def direct(self, event: events.Key | events.Paste) -> None:
        """Give the prompt the focus if the event is for it."""
        there = self._screen.focused is self._view.prompt.prompt
        if not there and (isinstance(event, events.Paste) or not self._acts(event)):
            self._to_prompt()

    def uncover(self) -> None:
        """Close an inspector that lies over the prompt's cursor; called whenever the draft has changed."""
        self._pane.uncover(self._view.prompt.prompt.cursor_screen_offset.x + 1)

    def show(self) -> None:
        """Show the mode; called whenever it may have changed: focus, selected message, zoom, actions."""
        self._pane.notice_focus()
        self._view.transcript.notice_focus()
        mode, view = self.mode, self._view
        self._screen.set_class(mode is not Mode.PANELS, "-typing")
        if self._screen.focused is not None:
            self._screen.focused.refresh()
        chosen = view.transcript.chosen
        view.status.show_mode(mode.value)
        hint = aside = ""
        if mode is Mode.PANELS:
            hint = panel_hint(self._keys)
        elif mode is Mode.MESSAGES and chosen is not None:
            pinned = view.chat is not None and chosen.said.turn in view.chat.conversation.pinned
            hint = chosen_hint(chosen, pinned, self._keys)
        elif chosen is not None:
            key = shown_keys(self._keys.get("choose", BY_ID["choose"].keys).split(",")[0])
            aside = f"turn {chosen.said.turn} is selected · {key} for its keys"
        view.prompt.show_hint(hint, aside)

    def _acts(self, key: events.Key) -> bool:
        """True if the key does something where the focus is, or would do nothing in the prompt either."""
        bound = self._screen.active_bindings.get(key.key)
        if bound is not None and bound.enabled:
            return not key.is_printable or self.mode is not Mode.NOTHING
        return not key.is_printable and (self.mode is not Mode.NOTHING or key.key not in EDITING)

    def _to_prompt(self) -> None:
        self._pane.unzoom()
        self._pane.leave()
        self._view.transcript.take(None)
        self._screen.set_focus(self._view.prompt.prompt)
