"""What of a chat is written while it goes on, and when the program ends."""

from chatapp.errors import SwachatError
from chatapp.ui.screens.chat_view import ChatView

STOP_TIMEOUT_S = 2.0
"""How long the end waits for a reply to stop, so that its cache can be written."""
SAVE_TIMEOUT_S = 15.0
"""How long the end waits for the cache to be written."""


class Saving:
    """Writes the chat of a view."""

    def __init__(self, view: ChatView) -> None:
        self._view = view
        self._told: str | None = None
        """The last trouble with the store that was told: the same one is not told four times a second."""

    def save(self) -> None:
        """Write what the reply has grown by. Trouble is told once, and tried again the next time."""
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
        """Have the cache written to disk, so that going on with the conversation needs no prefill.

        A reply that is being made is stopped first: only between two turns is there a cache to go on with.
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
