"""The text of the window over the chat: asked for, and shown when the engine has answered."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chatapp.ui.actions.host import ChatHost

if TYPE_CHECKING:
    from textual.screen import Screen

    from chatapp.protocol.window_text import WindowShown


def show_window_text(host: ChatHost, _: str = "") -> None:
    """Show what the model has in its window now."""
    from chatapp.protocol.commands import ShowWindow
    from chatapp.ui.dialogs.window_text import WindowText

    chat = host.chat
    if chat is None or chat.loaded is None:
        host.show_notice("info", "No model is loaded yet.")
        return

    def ask() -> None:
        if chat.loaded is not None:  # else nobody answers, or with an error
            chat.send(ShowWindow())

    host.show_dialog(WindowText(ask))


def take_window_text(screens: "Sequence[Screen[object]]", event: "WindowShown") -> None:
    """The engine has answered: show it, if the dialog is still open."""
    from chatapp.ui.dialogs.window_text import WindowText

    for screen in screens:
        if isinstance(screen, WindowText):
            screen.take(event)
