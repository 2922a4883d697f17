"""Storing a chat while it goes on, and when the program ends."""

import asyncio
from typing import TYPE_CHECKING

from chatapp.errors import SwachatError
from chatapp.ui.screens.chat_view import ChatView

if TYPE_CHECKING:
    from chatapp.store import StoreThread

STOP_TIMEOUT_S = 2.0
"""How long to wait at the end for a reply to stop, so that its cache can be written."""
SAVE_TIMEOUT_S = 15.0
"""How long to wait at the end for the cache to be written."""


SAVE_WITHIN_S = 0.1
"""How soon the text of a reply that is shown is stored: with a frame of 50 ms before that, well within 250 ms."""
STORE_TIMEOUT_S = 1.5
"""How long to wait at the end for what another program's lock keeps from being stored."""


class Saving:
    """Stores the chat of a view, in the store's thread."""

    def __init__(self, view: ChatView) -> None:
        self._view = view
        self.thread: StoreThread | None = None
        """None before the store is open."""
        self._under_way = False
        self._told: str | None = None
        """The last store error that was shown, so that it is not shown four times a second."""

    def save(self) -> None:
        """Store the new text of the reply. An error is shown once, and the write is retried the next time."""
        chat, thread = self._view.chat, self.thread
        if chat is None or thread is None or self._under_way or not chat.conversation.unwritten:
            return
        self._under_way = True
        thread.do(chat.conversation.flush, self._saved, self._not_saved)

    def save_soon(self) -> None:
        """Store the new text of the reply in a moment, however busy the event loop is until then."""
        chat, thread = self._view.chat, self.thread
        if chat is not None and thread is not None:
            thread.soon(SAVE_WITHIN_S, chat.conversation.flush, self._saved, self._not_saved)

    async def finish(self) -> None:
        """Store what is left, and end the thread."""
        thread, self.thread = self.thread, None
        chat = self._view.chat
        if thread is not None and chat is not None:
            thread.soon(0, chat.conversation.flush, self._saved, self._not_saved)
            await asyncio.to_thread(thread.finish, STORE_TIMEOUT_S)

    def _saved(self, _: None) -> None:
        self._under_way, self._told = False, None

    def _not_saved(self, error: SwachatError) -> None:
        self._under_way = False
        if str(error) != self._told:
            self._told = str(error)
            self._view.show_notice("error", f"The reply is not stored yet: {error}")

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
