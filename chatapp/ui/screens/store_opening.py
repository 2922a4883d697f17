"""How a chat starts: the store is opened and the resumed conversation is read; messages sent before then wait."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from chatapp.errors import SwachatError
from chatapp.ui.actions.conversation import new_conversation
from chatapp.ui.screens.chat_host import ScreenHost
from chatapp.ui.screens.chat_view import ChatView
from chatapp.ui.screens.saving import Saving
from chatapp.ui.widgets.status import Status

if TYPE_CHECKING:
    from chatapp.chat.conversation import Conversation
    from chatapp.store import Store

LOCK_WAIT_S = 0.05
HISTORY = 500
"""Earlier prompts that Up goes back through."""


class StoreOpening:
    """Opens the store in a thread, then creates the chat of a view. After a failure the next message retries."""

    def __init__(
        self,
        host: ScreenHost,
        view: ChatView,
        saving: Saving,
        keep: "Callable[[Store], None]",
        *,
        resume: bool,
        session: str | None,
    ) -> None:
        """`keep` gets the store, to close it at the end.

        `resume` resumes the last conversation; `session` the one of that name, or starts it.
        """
        self._host, self._view, self._saving, self._keep = host, view, saving, keep
        self._resume, self._session = resume, session
        self._under_way = False
        self._early: list[str] = []
        """Messages that were sent before the store was open."""

    def begin(self) -> None:
        """Open the store, unless it is being opened."""
        if not self._under_way:
            self._under_way = True
            self._host.in_thread(self._read, self._opened, group="store", failed=self._failed)

    def submit(self, text: str) -> None:
        """Send a message, or queue it; before there is a chat, keep it for that."""
        if self._view.chat is None:
            self._early.append(text)
            self.begin()
        else:
            self._host.guarded(partial(self._view.chat.submit, text))

    def _read(self) -> "tuple[Store, list[str], Conversation | None]":
        """The store, earlier prompts, and the conversation to resume."""
        from chatapp.chat.conversation import Conversation

        store = self._host.services.store()
        session = store.last_session() if self._resume else None
        if self._session is not None:
            session = store.find_session(self._session)
        resumed = None if session is None else Conversation.resumed(store, session)
        return store, store.recent_prompts(HISTORY), resumed

    def _tell_lock(self, error: SwachatError) -> None:
        self._host.show_notice("warning", f"{error.what} What is said is stored as soon as that ends.", key="lock")

    def _failed(self, error: SwachatError) -> None:
        self._under_way = False
        self._host.show_notice(
            "error", f"{error} Send the message again to retry; nothing is sent that cannot be stored."
        )
        self._view.status.show(Status("no store", style="$text-error"))
        early, self._early = self._early, []
        if early:
            self._view.give_back("\n".join(early))

    def _opened(self, read: "tuple[Store, list[str], Conversation | None]") -> None:
        from chatapp.chat.controller import Chat
        from chatapp.config import cache_settings, engine_settings, sampling
        from chatapp.store import StoreThread

        store, history, resumed = read
        host, view, config = self._host, self._view, self._host.config
        self._keep(store)
        for notice in store.notices:
            host.show_notice("warning", notice)
        view.prompt.prompt.remember(history)
        if resumed is not None:
            view.model = view.model or resumed.model or None
        conversation = resumed or new_conversation(host, store, self._session)
        # What needs the event loop to wait gives up at once; what can wait is repeated by the thread.
        host.guarded(partial(store.wait_for_locks, LOCK_WAIT_S))
        self._saving.thread = StoreThread(host.deliver, waiting=self._tell_lock, wait_s=host.services.store_wait_s)
        saved = host.services.saved
        view.chat = Chat(
            view,
            conversation,
            cache=cache_settings(config),
            engine=engine_settings(config, watched=True),
            sampling=sampling(config),
            saved=saved(config.sessions.saved_caches) if saved is not None else None,
            writer=self._saving.thread,
        )
        view.prompt.show_name(conversation.name)
        if resumed is not None:
            view.show_conversation()
        host.restart_engine()
        host.find_model(view.model or config.model, chosen=False)
        early, self._early = self._early, []
        for text in early:
            self.submit(text)
