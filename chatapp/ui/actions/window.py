"""Actions on the window and the branches of a chat: pins, recall, edit, branches, alternatives.

Each takes the argument of its slash command as text; without it the selected message's turn is meant, or the last.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from chatapp.errors import UserError
from chatapp.presentation.visibility import Visibility
from chatapp.ui.action_table import BY_ID, shown_keys
from chatapp.ui.actions.host import ChatHost

if TYPE_CHECKING:
    from chatapp.chat.branch_tree import StoredBranch
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import ChatMessage, Conversation
    from chatapp.protocol.events import RecallForeseen
    from chatapp.ui.widgets.transcript.message import MessageView

LONGEST_NUMBER = 9


# --------------------------------------------------------------------------- pins and recall


def pin(host: ChatHost, turn: str = "") -> None:
    """Pin a turn."""
    _with_turn(host, "pin", turn, lambda chat, number: chat.pin(number, True))


def unpin(host: ChatHost, turn: str = "") -> None:
    """Unpin a turn."""
    _with_turn(host, "unpin", turn, lambda chat, number: chat.pin(number, False))


def recall(host: ChatHost, words: str = "") -> None:
    """Recall a turn by its number, or search the evicted turns."""
    chat = host.chat
    if chat is None:
        return
    number = _number(words)
    if number is not None and chat.conversation.asked(number) is not None:
        chat.recall([number])
    else:
        _choose_evicted(host, chat, words)


def ask_about_recall(host: ChatHost, event: "RecallForeseen") -> None:
    """Ask whether the turns are worth what leaves for them."""
    from chatapp.presentation.notices import recall_foreseen
    from chatapp.ui.dialogs.ask import AskYes

    asking = host.chat

    def answered(yes: bool | None) -> None:
        chat = host.chat
        if chat is None or chat is not asking:
            return
        if yes:
            host.guarded(partial(chat.recall_agreed, event.turns))
        else:
            chat.forget_plans()

    host.show_dialog(AskYes(recall_foreseen(event), "Enter recalls · Esc cancels"), answered)


def _choose_evicted(host: ChatHost, chat: "Chat", words: str) -> None:
    from chatapp.ui.dialogs.chooser import Chooser
    from chatapp.ui.dialogs.evicted_turns import EvictedSearch, evicted_turns_of

    session = chat.conversation.session
    evicted = evicted_turns_of(chat)
    if session is None or not evicted.gone:
        host.show_notice("info", "Nothing has been evicted, so there is nothing to recall.")
        return

    def chosen(values: Sequence[str] | None) -> None:
        turns = [int(value) for value in values or () if value]
        if turns:
            host.guarded(partial(chat.recall, turns))

    chooser = Chooser(
        "Recall evicted turns",
        EvictedSearch(chat.conversation.store, session.id, evicted),
        hint="Enter recalls · Tab marks several · Esc cancels",
        nothing="No evicted turn contains these words.",
        text=words,
        several=True,
    )
    host.show_dialog(chooser, chosen)


# --------------------------------------------------------------------------- branches


def edit(host: ChatHost, turn: str = "") -> None:
    """Edit a message."""
    _with_turn(host, "edit", turn, lambda chat, number: chat.edit(number))


def branch(host: ChatHost, turn: str = "") -> None:
    """Continue from a turn as a new branch."""
    _with_turn(host, "branch", turn, lambda chat, number: chat.branch(number))


def branches(host: ChatHost, _: str = "") -> None:
    """List the branches and switch to one."""
    chat = host.chat
    if chat is None or chat.conversation.session is None:
        host.show_notice("info", "Nothing has been said yet.")
    elif chat.may_change():
        conversation = chat.conversation
        host.in_thread(
            partial(_read_branches, conversation), partial(_choose_branch, host, conversation), group="branches"
        )


def _read_branches(conversation: "Conversation") -> "list[tuple[StoredBranch, list[ChatMessage]]]":
    """Each branch with its messages as they are shown. Raises StoreError."""
    from chatapp.chat.branch_tree import branches
    from chatapp.chat.conversation import shown

    session = conversation.session
    assert session is not None
    conversation.flush()
    info, tree = conversation.store.session(session.id), conversation.store.tree(session.id)
    forks = conversation.store.forks(session.id)
    return [(branch, shown(branch.messages, forks)) for branch in branches(tree, info.head_id)]


def _choose_branch(
    host: ChatHost, conversation: "Conversation", found: "list[tuple[StoredBranch, list[ChatMessage]]]"
) -> None:
    from chatapp.ui.dialogs.branches import branch_choices
    from chatapp.ui.dialogs.chooser import Chooser, containing

    if len(found) < 2:
        host.show_notice("info", "This conversation has only one branch. Edit, undo or regenerate starts another.")
        return
    ways = {str(branch.last.id): messages for branch, messages in found}

    def chosen(values: Sequence[str] | None) -> None:
        if values and host.chat is not None and host.chat.conversation is conversation:
            host.chat.go_to(ways[values[0]], host.show_conversation)

    choices = branch_choices([branch for branch, _ in found], time.time())
    host.show_dialog(Chooser("Branches of this conversation", containing(choices)), chosen)


# --------------------------------------------------------------------------- alternatives


def next_alternative(host: ChatHost, which: str = "") -> None:
    """Show the next alternative of a message, or the previous one."""
    if which not in ("", "next", "previous"):
        raise UserError(f"/alternative takes next or previous, not {which}.")
    _step(host, -1 if which == "previous" else 1)


def previous_alternative(host: ChatHost, _: str = "") -> None:
    """Show the previous alternative of a message."""
    _step(host, -1)


def _step(host: ChatHost, step: int) -> None:
    chat = host.chat
    if chat is None:
        return
    messages = chat.conversation.messages
    said = host.chosen or next((said for said in reversed(messages) if said.others), None)
    if said is None or not said.others or said is chat.conversation.reply:
        host.show_notice("info", "This message has no alternatives.")
        return
    conversation = chat.conversation
    host.in_thread(
        partial(_read_alternative, conversation, said, step),
        partial(_show_alternative, host, conversation, said),
        group="branches",
    )


def _read_alternative(conversation: "Conversation", said: "ChatMessage", step: int) -> "list[ChatMessage]":
    """The branch with the alternative that comes `step` after this one. Raises StoreError."""
    from chatapp.chat.branch_tree import newest_end, way_to
    from chatapp.chat.conversation import shown

    session = conversation.session
    assert session is not None
    conversation.flush()
    assert said.id is not None  # all is stored now
    ids = sorted((*said.others, said.id))
    message_id = ids[(ids.index(said.id) + step) % len(ids)]
    tree = conversation.store.tree(session.id)
    way = way_to({message.id: message for message in tree}, newest_end(tree, message_id))
    return shown(way, conversation.store.forks(session.id))


def _show_alternative(
    host: ChatHost, conversation: "Conversation", said: "ChatMessage", way: "list[ChatMessage]"
) -> None:
    chat = host.chat
    if chat is None or chat.conversation is not conversation:
        return
    was_chosen = host.chosen is not None

    def shown() -> None:
        host.show_conversation()
        if was_chosen:
            host.transcript.choose(said.turn, said.role)

    chat.go_to(way, shown)


# --------------------------------------------------------------------------- which turn


def chosen_hint(view: "MessageView", pinned: bool, keys: Mapping[str, str]) -> str:
    """The keys that act on the selected message, whose turn may be `pinned`; `keys` are the person's own."""
    words = {
        "copy_chosen": "copy",
        "pin_chosen": "unpin" if pinned else "pin",
        "recall_chosen": "recall" if view.visibility is Visibility.EVICTED else "",
        "edit_chosen": "edit",
        "branch_chosen": "branch",
        "alternative_after": "alternative" if view.said.others else "",
        "back": "back",
    }
    first = {name: keys.get(name, BY_ID[name].keys).split(",")[0] for name in words}
    return " · ".join(f"{shown_keys(first[name])} {word}" for name, word in words.items() if word)


def _with_turn(host: ChatHost, name: str, turn: str, change: "Callable[[Chat, int], object]") -> None:
    """Apply `change` to the turn that is meant."""
    chat = host.chat
    if chat is None:
        return
    number = _number(turn)
    if turn and number is None:
        raise UserError(f"{turn} is not a turn number.", f"Give a number: /{name} 3.")
    if number is None:
        number = host.chosen.turn if host.chosen is not None else chat.conversation.turn
    if number == 0:
        host.show_notice("info", "Nothing has been said yet.")
    else:
        change(chat, number)


def _number(text: str) -> int | None:
    """The number of a turn; None if `text` is not one."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else None
