"""Opening a conversation. Where another program has it open, the person says whether to wait, to read or to branch."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from chatapp.errors import StoreError, SwachatError
from chatapp.ui.actions.host import ChatHost
from chatapp.ui.services import Choice

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import Conversation
    from chatapp.store import Holder, Store

AGAIN = "To wait for it, or to branch from it, open it again (F4)."


def read_session(store: "Store", session_id: int) -> "Conversation":
    """A stored conversation that this program alone writes to from now on. It reads the store: call it in a thread.

    HeldError where another program does. Where no lock can be made, it can only be read.
    """
    from chatapp.store import HeldError

    try:
        store.locks.hold(session_id)
    except HeldError:
        raise
    except StoreError as error:
        return _to_read(store, session_id, f"This conversation can only be read. {error}")
    return _resumed(store, session_id)


def _resumed(store: "Store", session_id: int) -> "Conversation":
    from chatapp.chat.conversation import Conversation

    return Conversation.resumed(store, store.session(session_id))


def _to_read(store: "Store", session_id: int, why: str) -> "Conversation":
    conversation = _resumed(store, session_id)
    conversation.read_only = why
    return conversation


def open_session(host: ChatHost, session_id: int) -> None:
    """Go on with a stored conversation."""
    from chatapp.store import HeldError

    chat = host.chat
    if chat is None or chat.tell_busy():
        return

    def failed(error: SwachatError) -> None:
        if isinstance(error, HeldError):
            ask_about_held(host, session_id, error.holder)
        else:
            host.show_notice("error", str(error))

    read = partial(read_session, chat.conversation.store, session_id)
    host.in_thread(read, partial(go_on_with, host, chat), group="session", failed=failed)


def go_on_with(host: ChatHost, chat: "Chat", conversation: "Conversation") -> None:
    """Show this conversation, and hold it instead of the one that was shown before."""

    def opened(done: bool) -> None:
        if done:
            host.show_conversation()
            if conversation.read_only:
                host.show_notice("info", conversation.read_only)
        _keep_shown(chat)

    chat.open(conversation, opened)


def _keep_shown(chat: "Chat") -> None:
    session = chat.conversation.session
    chat.conversation.store.locks.keep_only(None if session is None else session.id)


def ask_about_held(
    host: ChatHost, session_id: int, holder: "Holder", declined: Callable[[], None] | None = None
) -> None:
    """Ask what to do about a conversation that another program has open; `declined` is called if it is not opened."""
    from chatapp.ui.dialogs.chooser import Chooser, containing

    chat = host.chat
    if chat is None:
        return
    store = chat.conversation.store
    decline = declined or (lambda: None)
    choices = [
        Choice("wait", "Wait", "until it is closed there"),
        Choice("read", "Read", "what it holds now; nothing can be sent"),
        Choice("branch", "Branch", "copy the branch that is shown to a new conversation, and continue there"),
    ]
    why = f"This conversation can only be read: it is open in {holder}. {AGAIN}"

    def failed(error: SwachatError) -> None:
        host.show_notice("error", str(error))
        decline()

    def chosen(values: Sequence[str] | None) -> None:
        match values:
            case ["wait"]:
                _wait(host, chat, session_id, holder, decline)
            case ["read"]:
                read = partial(_to_read, store, session_id, why)
                host.in_thread(read, partial(go_on_with, host, chat), group="session", failed=failed)
            case ["branch"]:
                copy = partial(_branched, store, session_id)
                host.in_thread(copy, partial(_go_on_apart, host, chat), group="session", failed=failed)
            case _:
                decline()

    host.show_dialog(Chooser(f"Open in {holder}", containing(choices)), chosen)


def _branched(store: "Store", session_id: int) -> "Conversation":
    return _resumed(store, store.branch_off(session_id).id)


def _go_on_apart(host: ChatHost, chat: "Chat", conversation: "Conversation") -> None:
    go_on_with(host, chat, conversation)
    host.show_notice(
        "info", "This is a new conversation: what follows does not change the one that it was copied from."
    )


def _wait(host: ChatHost, chat: "Chat", session_id: int, holder: "Holder", decline: Callable[[], None]) -> None:
    """Look every now and then, for as long as the dialog is open."""
    from chatapp.store import HeldError
    from chatapp.ui.dialogs.waiting import Waiting

    def look() -> None:
        read = partial(read_session, chat.conversation.store, session_id)
        host.in_thread(read, free, group="session", failed=failed)

    def free(conversation: "Conversation") -> None:
        if dialog.is_current:
            dialog.dismiss()
            go_on_with(host, chat, conversation)  # before the dialog's answer is heard
        else:  # cancelled in the meantime
            _keep_shown(chat)

    def failed(error: SwachatError) -> None:
        if dialog.is_current and not isinstance(error, HeldError):
            dialog.dismiss()
            host.show_notice("error", str(error))

    dialog = Waiting(f"Waiting until the conversation is closed in {holder}.", look)
    host.show_dialog(dialog, lambda _: decline())
