"""How a chat starts: the store is opened and the resumed conversation is read; messages sent before then wait."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from chatapp.errors import SwachatError
from chatapp.ui.actions.conversation import new_conversation
from chatapp.ui.actions.opening import ask_about_held, open_session, read_session
from chatapp.ui.screens.chat_host import ScreenHost
from chatapp.ui.screens.chat_view import ChatView
from chatapp.ui.screens.saving import Saving
from chatapp.ui.widgets.status import Status

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import Conversation
    from chatapp.store import Holder, SessionInfo, Store

LOCK_WAIT_S = 0.05
HISTORY = 500
"""Earlier prompts that Up goes back through."""


@dataclass(frozen=True)
class _Read:
    """What the start of a chat reads from the store."""

    store: "Store"
    history: list[str]
    """Earlier prompts."""
    session: "SessionInfo | None"
    """The conversation that was asked for."""
    resumed: "Conversation | None"
    holder: "Holder | None"
    """Who else has it open: then it is not resumed yet."""


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

    def _not_stored(self, chat: "Chat", tell: Callable[[], object]) -> None:
        """Where another program has begun the conversation of this name in the meantime, go on with that one."""
        conversation = chat.conversation
        if conversation.session is not None or conversation.name is None:
            tell()
            return

        def found(begun: "SessionInfo | None") -> None:
            if begun is None:
                tell()
            else:
                open_session(self._host, begun.id)

        find = partial(conversation.store.find_session, conversation.name)
        self._host.in_thread(find, found, group="session", failed=lambda _: tell())

    def _read(self) -> "_Read":
        from chatapp.store import HeldError

        store = self._host.services.store()
        session = store.last_session() if self._resume else None
        if self._session is not None:
            session = store.find_session(self._session)
        resumed, holder = None, None
        if session is not None:
            try:
                resumed = read_session(store, session.id)
            except HeldError as error:
                holder = error.holder
        history = store.recent_prompts(HISTORY)
        store.wait_for_locks(LOCK_WAIT_S)  # the thread that stores things repeats what a lock has kept from being done
        return _Read(store, history, session, resumed, holder)

    def _tell_lock(self, error: SwachatError) -> None:
        self._host.show_notice(
            "warning", f"{error.what} What is said and done is stored as soon as that ends.", key="lock"
        )

    def _failed(self, error: SwachatError) -> None:
        self._under_way = False
        self._host.show_notice(
            "error", f"{error} Send the message again to retry; nothing is sent that cannot be stored."
        )
        self._view.status.show(Status("no store", style="$text-error"))
        early, self._early = self._early, []
        if early:
            self._view.give_back("\n".join(early))

    def _opened(self, read: "_Read") -> None:
        from chatapp.chat.controller import Chat
        from chatapp.config import cache_settings, engine_settings, sampling
        from chatapp.store import StoreThread

        store, resumed = read.store, read.resumed
        host, view, config = self._host, self._view, self._host.config
        self._keep(store)
        for notice in store.notices:
            host.show_notice("warning", notice)
        view.prompt.prompt.remember(read.history)
        if read.session is not None:
            view.model = view.model or read.session.model or None
        conversation = resumed or new_conversation(host, store, self._session if read.session is None else None)
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
        view.chat.not_stored = partial(self._not_stored, view.chat)
        view.prompt.show_name(conversation.name)
        if resumed is not None:
            view.show_conversation()
            if resumed.read_only:
                host.show_notice("info", resumed.read_only)
        host.restart_engine()
        host.find_model(view.model or config.model, chosen=False)
        early, self._early = self._early, []
        if read.session is not None and read.holder is not None:
            if early:
                view.give_back("\n".join(early))  # it was written for the other conversation
            ask_about_held(host, read.session.id, read.holder, declined=host.drafts.follow)
            return
        host.drafts.follow()
        for text in early:
            self.submit(text)
