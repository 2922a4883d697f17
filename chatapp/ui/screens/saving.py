"""Storing a chat while it goes on, and when the program ends."""

from chatapp.errors import SwachatError
from chatapp.ui.screens.chat_view import ChatView

STOP_TIMEOUT_S = 2.0
"""How long to wait at the end for a reply to stop, so that its cache can be written."""
SAVE_TIMEOUT_S = 15.0
"""How long to wait at the end for the cache to be written."""


class Saving:
    """Stores the chat of a view."""

    def __init__(self, view: ChatView) -> None:
        self._view = view
        self._told: str | None = None
        """The last store error that was shown, so that it is not shown four times a second."""

    def save(self) -> None:
        """Store the new text of the reply. An error is shown once, and the write is retried the next time."""
        chat = self._view.chat
        if chat is None:
            return
        try:
            chat.conversation.flush()
        except SwachatError as error:
            if str(error) != self._told:
                self._told = str(error)
                self._view.show_notice("error", f"The reply is not stored yet: {error}")
        else:
            self._told = None

    async def save_cache(self) -> None:
        """Have the cache written to disk, so that the conversation can be resumed without a prefill.

        A reply in progress is stopped first: only between two turns is the cache one to resume from.
        """
        chat = self._view.chat
        if chat is None:
            return
        from chatapp.chat.view import Phase

        if chat.busy:
            chat.stop()
            await self._view.until(lambda: not chat.busy, STOP_TIMEOUT_S)
        if chat.save_cache():
            await self._view.until(lambda: chat.phase is not Phase.SAVING, SAVE_TIMEOUT_S)
