"""What is done to the window and to the branches on the main screen: pins, recall, edit, branches, alternatives.

Each action takes what may follow its slash command as text; without it the chosen message's turn is meant, or the last.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual import on, work

from chatapp.errors import SwachatError, UserError
from chatapp.presentation.visibility import Standing
from chatapp.ui.action_table import BY_ID, shown_keys
from chatapp.ui.actions.messages import AlternativeRead, BranchesRead
from chatapp.ui.textual_fixes.compositor import SparingScreen
from chatapp.ui.widgets.prompt import PromptBox
from chatapp.ui.widgets.transcript.message import MessageView
from chatapp.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import Conversation, Said
    from chatapp.ui.app import SwachatApp

LONGEST_NUMBER = 9


class WindowActions(SparingScreen):
    """A part of ChatActions."""

    app: "SwachatApp"  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed
    chat: "Chat | None"

    def show_conversation(self) -> None:
        """The whole conversation anew."""
        raise NotImplementedError

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """A line in the transcript."""
        raise NotImplementedError

    def guarded(self, do: Callable[[], object]) -> None:
        """Do it; what goes wrong is a line in the transcript."""
        try:
            do()
        except SwachatError as error:
            self.show_notice("error", str(error))

    def offers_of_window(self, action: str, chat: "Chat") -> bool:
        """True where the palette should offer this action now."""
        conversation = chat.conversation
        match action:
            case "unpin":
                return bool(conversation.pinned)
            case "recall":
                return bool(conversation.answered - chat.inside)
            case "next_alternative" | "previous_alternative":
                return any(said.others for said in conversation.messages)
            case _:
                return bool(conversation.messages) and not chat.busy

    # ----------------------------------------------------------------------- pins and recall

    def action_pin(self, turn: str = "") -> None:
        """Keep a turn for good."""
        self._of_turn("pin", turn, lambda chat, number: chat.pin(number, True))

    def action_unpin(self, turn: str = "") -> None:
        """Let a turn leave again."""
        self._of_turn("unpin", turn, lambda chat, number: chat.pin(number, False))

    def action_toggle_pin(self) -> None:
        """Keep a turn for good, or let it leave again."""
        self._of_turn("pin", "", lambda chat, number: chat.pin(number, number not in chat.conversation.pinned))

    def action_recall(self, words: str = "") -> None:
        """Bring a turn back by its number, or search what has left."""
        if self.chat is None:
            return
        number = _number(words)
        if number is not None and self.chat.conversation.asked(number) is not None:
            self.guarded(partial(self.chat.recall, [number]))
        else:
            self._choose_past(self.chat, words)

    def _choose_past(self, chat: "Chat", words: str) -> None:
        from chatapp.ui.dialogs.chooser import Chooser
        from chatapp.ui.dialogs.evicted_turns import past_of, search_past

        session = chat.conversation.session
        past = past_of(chat)
        if session is None or not past.gone:
            self.show_notice("info", "Nothing has left the window: there is nothing to recall.")
            return
        chooser = Chooser(
            "Recall into the window",
            partial(search_past, chat.conversation.store, session.id, past),
            hint="Enter recalls · Tab marks several · Esc closes",
            nothing="No turn that has left the window has these words.",
            text=words,
            several=True,
            slow=True,
        )
        self.app.push_screen(chooser, self._past_chosen)

    def _past_chosen(self, chosen: Sequence[str] | None) -> None:
        turns = [int(value) for value in chosen or () if value]
        if turns and self.chat is not None:
            self.guarded(partial(self.chat.recall, turns))

    # ----------------------------------------------------------------------- branches

    def action_edit(self, turn: str = "") -> None:
        """Say a message in another way."""
        self._of_turn("edit", turn, lambda chat, number: chat.edit(number))

    def action_branch(self, turn: str = "") -> None:
        """Go on behind a turn."""
        self._of_turn("branch", turn, lambda chat, number: chat.branch(number))

    def action_branches(self) -> None:
        """List the branches."""
        if self.chat is None or self.chat.conversation.session is None:
            self.show_notice("info", "Nothing has been said yet.")
        elif self.chat.may_change():
            self.guarded(self.chat.conversation.flush)
            self._read_branches(self.chat.conversation)

    @work(thread=True, exclusive=True, group="branches")
    def _read_branches(self, conversation: "Conversation") -> None:
        from chatapp.chat.branches import branches
        from chatapp.chat.conversation import shown

        session = conversation.session
        assert session is not None
        try:
            info, tree = conversation.store.session(session.id), conversation.store.tree(session.id)
            forks = conversation.store.forks(session.id)
            found = [(branch, shown(branch.messages, forks)) for branch in branches(tree, info.head_id)]
            self.post_message(BranchesRead(conversation, found))
        except SwachatError as error:
            self.app.call_from_thread(self.show_notice, "error", str(error))

    @on(BranchesRead)
    def _branches_read(self, event: BranchesRead) -> None:
        from chatapp.ui.dialogs.branches import branch_choices
        from chatapp.ui.dialogs.chooser import Chooser, containing

        if len(event.branches) < 2:
            self.show_notice("info", "This conversation has one branch. Edit, undo or regenerate begins another one.")
            return
        ways = {str(branch.last.id): messages for branch, messages in event.branches}

        def chosen(values: Sequence[str] | None) -> None:
            if values and self.chat is not None and self.chat.conversation is event.conversation:
                self._go_to(ways[values[0]])

        choices = branch_choices([branch for branch, _ in event.branches], time.time())
        self.app.push_screen(Chooser("Branches of this conversation", containing(choices)), chosen)

    def _go_to(self, branch: "list[Said]") -> None:
        chat = self.chat
        if chat is None:
            return
        gone: list[bool] = []
        self.guarded(lambda: gone.append(chat.go_to(branch)))
        if gone == [True]:
            self.show_conversation()

    # ----------------------------------------------------------------------- alternatives

    def action_next_alternative(self, which: str = "next") -> None:
        """The next of the messages in one place, or the one before."""
        if which not in ("next", "previous"):
            raise UserError(f"/alternative takes next or previous, not {which}.")
        self._step(1 if which == "next" else -1)

    def action_previous_alternative(self) -> None:
        """The one before."""
        self._step(-1)

    def _step(self, step: int) -> None:
        if self.chat is None:
            return
        self.guarded(self.chat.conversation.flush)
        view = self.query_one(Transcript).chosen
        messages = self.chat.conversation.messages
        said = view.said if view is not None else next((said for said in reversed(messages) if said.others), None)
        if said is None or said.id is None or not said.others:
            self.show_notice("info", "There is no other message in this place.")
            return
        ids = sorted((*said.others, said.id))
        self._read_alternative(self.chat.conversation, said, ids[(ids.index(said.id) + step) % len(ids)])

    @work(thread=True, exclusive=True, group="branches")
    def _read_alternative(self, conversation: "Conversation", said: "Said", message_id: int) -> None:
        from chatapp.chat.branches import newest_end, way_to
        from chatapp.chat.conversation import shown

        session = conversation.session
        assert session is not None
        try:
            tree = conversation.store.tree(session.id)
            way = way_to({message.id: message for message in tree}, newest_end(tree, message_id))
            self.post_message(AlternativeRead(conversation, shown(way, conversation.store.forks(session.id)), said))
        except SwachatError as error:
            self.app.call_from_thread(self.show_notice, "error", str(error))

    @on(AlternativeRead)
    def _alternative_read(self, event: AlternativeRead) -> None:
        if self.chat is None or self.chat.conversation is not event.conversation:
            return
        transcript = self.query_one(Transcript)
        was_chosen = transcript.chosen is not None
        self._go_to(event.branch)
        if was_chosen and self.chat.conversation.messages == event.branch:
            transcript.choose(event.chosen.turn, event.chosen.role)

    # ----------------------------------------------------------------------- which turn

    @on(Transcript.Choice)
    def _message_chosen(self, event: Transcript.Choice) -> None:
        self.query_one(PromptBox).show_hint("" if event.view is None else self._hint(event.view))

    def _hint(self, view: MessageView) -> str:
        pinned = self.chat is not None and view.said.turn in self.chat.conversation.pinned
        words = {
            "copy_chosen": "copy",
            "pin_chosen": "unpin" if pinned else "pin",
            "recall_chosen": "recall" if view.standing is Standing.EVICTED else "",
            "edit_chosen": "edit",
            "branch_chosen": "branch",
            "alternative_after": "alternative" if view.said.others else "",
            "back": "back",
        }
        keys = {name: self.app.config.keys.get(name, BY_ID[name].keys).split(",")[0] for name in words}
        return " · ".join(f"{shown_keys(keys[name])} {word}" for name, word in words.items() if word)

    def _of_turn(self, name: str, turn: str, do: "Callable[[Chat, int], object]") -> None:
        """Do it to the turn that is meant."""
        chat = self.chat
        if chat is None:
            return
        number = _number(turn)
        if turn and number is None:
            raise UserError(f"{turn} is no turn.", f"Give its number: /{name} 3.")
        chosen = self.query_one(Transcript).chosen
        if number is None:
            number = chosen.said.turn if chosen is not None else chat.conversation.turn
        if number == 0:
            self.show_notice("info", "Nothing has been said yet.")
        else:
            self.guarded(partial(do, chat, number))


def _number(text: str) -> int | None:
    """A turn's number; None where it is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= LONGEST_NUMBER else None
