"""Changes to the window and the branches: pin, recall, edit, branch off, switch branches."""

from collections.abc import Callable, Iterable, Sequence
from functools import partial

from chatapp.chat.conversation import ChatMessage
from chatapp.chat.storing import ChatStoring
from chatapp.chat.view import Phase
from chatapp.errors import StoreError
from chatapp.presentation.format import plural, turns_named
from chatapp.presentation.visibility import TurnVisibility
from chatapp.protocol.commands import Pin, Recall
from chatapp.protocol.events import Pinned, Recalled


class ChatEdits(ChatStoring):
    """The changes to what the model sees; each waits for the engine's answer."""

    editing: int | None = None
    """The turn that the next message replaces; nothing changes before that is sent."""
    _pin_next: int | None = None
    """The turn to pin once it has been recalled."""

    @property
    def inside(self) -> frozenset[int]:
        """The turns that are in the window, at least in part."""
        return frozenset() if self.snapshot is None else TurnVisibility(self.snapshot).inside

    # ----------------------------------------------------------------------- pins and recall

    def pin(self, turn: int, pinned: bool) -> None:
        """Pin or unpin a turn. An evicted turn is recalled before it is pinned."""
        if self.waits(partial(self.pin, turn, pinned)):
            return
        asked = self._answered(turn)
        if asked is None:
            return
        if asked.pinned == pinned:
            self.view.show_notice("info", f"Turn {turn} is {'already pinned' if pinned else 'not pinned'}.")
        elif turn in self.inside:
            self.enter(Phase.PINNING)
            self.send(Pin(turn=turn, pinned=pinned))
        elif pinned:
            self.view.show_notice("info", f"Turn {turn} was evicted: recalling it, then pinning it.")
            self._pin_next = turn
            self._recall([turn])
        else:  # an engine with a smaller window has not filled it in: nothing to send
            unpinned = partial(self.view.show_notice, "info", f"Turn {turn} is no longer pinned.")
            self.change(partial(self.conversation.pin, turn, False), lambda _: unpinned())

    def recall(self, turns: Iterable[int]) -> None:
        """Recall evicted turns."""
        wanted = sorted(set(turns))
        if self.waits(partial(self.recall, wanted)):
            return
        if any(self._answered(turn) is None for turn in wanted):
            return
        if here := [turn for turn in wanted if turn in self.inside]:
            is_are = "is" if len(here) == 1 else "are"
            self.view.show_notice("info", f"{turns_named(here).capitalize()} {is_are} already in the window.")
        else:
            self._recall(wanted)

    def recall_agreed(self, turns: Iterable[int]) -> None:
        """Recall evicted turns although other tokens are evicted for them."""
        if self.may_change():
            self._recall(list(turns), agreed=True)

    def _recall(self, turns: list[int], *, agreed: bool = False) -> None:
        self.enter(Phase.RECALLING)
        self.send(Recall(turns=turns, agreed=agreed))

    def pinned(self, event: Pinned) -> None:
        """The engine has pinned or unpinned a turn. If that cannot be stored, it is told to undo that."""
        asked = None if event.turn is None else self.conversation.asked(event.turn)
        wanted = self.phase is Phase.PINNING and not event.why
        if asked is None or asked.pinned == event.pinned:
            if wanted:
                self.ready()
            return
        keep = partial(self.conversation.pin, asked.turn, event.pinned)
        if wanted:
            self.change(keep, lambda _: None, partial(self._not_pinned, asked))
        else:
            self.aside(keep)

    def _not_pinned(self, asked: ChatMessage, error: StoreError) -> None:
        self.tell_unchanged(error)
        if self.phase is Phase.IDLE:  # else the engine has ended meanwhile
            self.enter(Phase.PINNING)
            self.send(Pin(turn=asked.turn, pinned=asked.pinned))

    def recalled(self, event: Recalled) -> bool:
        """Turns were recalled; False if one of them is to be pinned next."""
        turn, self._pin_next = self._pin_next, None
        if turn is None or self.phase is not Phase.RECALLING:
            return True
        self.enter(Phase.PINNING)
        self.send(Pin(turn=turn, pinned=True))
        return False

    def forget_plans(self) -> None:
        """Drop what was to be done next."""
        self._pin_next = None

    def forget_engine(self) -> None:
        """See ChatState."""
        super().forget_engine()
        self.forget_plans()

    def _answered(self, turn: int) -> ChatMessage | None:
        """The message of a turn that may be changed now; None, with a notice, if there is none."""
        if not self.may_change():
            return None
        asked = self.conversation.asked(turn)
        if asked is None:
            self._tell_no_turn(turn)
        elif turn not in self.conversation.answered:
            self.view.show_notice("info", f"Turn {turn} has no reply, so the model does not know it.")
            asked = None
        return asked

    def _tell_no_turn(self, turn: int) -> None:
        last = self.conversation.turn
        there = f"The turns are 1 to {last}." if last else "Nothing has been said yet."
        self.view.show_notice("info", f"There is no turn {turn}. {there}")

    # ----------------------------------------------------------------------- branches

    def edit(self, turn: int) -> None:
        """Put the message of a turn into the prompt for editing; nothing changes before it is sent."""
        if self.waits(partial(self.edit, turn)) or not self.may_change():
            return
        asked = self.conversation.asked(turn)
        if asked is None:
            self._tell_no_turn(turn)
            return
        self.leave_edit()
        self.editing = turn
        self.view.show_editing(turn, asked.text)

    def leave_edit(self) -> bool:
        """Cancel the edit: the conversation is unchanged, and the earlier draft returns; False if there was no edit."""
        if self.editing is None:
            return False
        self.editing = None
        self.view.show_editing(None)
        return True

    def send_edit(self, turn: int, text: str) -> None:
        """Go back to before the turn and send this instead. If that cannot be done, the text is given back."""
        if not self.may_change():
            self.view.give_back(text)
            return

        def back(gone: list[ChatMessage]) -> None:
            self.view.show_without(gone)
            self.leave_edit()
            self.queue.appendleft(text)
            self.tell_engine(partial(self.fill, from_disk=False))

        def failed(error: StoreError) -> None:
            self.view.give_back(text)
            self.tell_unchanged(error)

        self.change(partial(self.conversation.back_to, turn), back, failed, text=text)

    def branch(self, turn: int) -> None:
        """Continue from this turn as a new branch; what followed it is kept on the old one."""
        if self.waits(partial(self.branch, turn)) or not self.may_change():
            return
        if self.conversation.asked(turn) is None:
            self._tell_no_turn(turn)
        elif turn == self.conversation.turn:
            self.view.show_notice("info", f"Turn {turn} is the last one: your next message continues from it.")
        else:
            self.leave_edit()
            self.change(partial(self.conversation.back_to, turn + 1), partial(self._branched, turn))

    def _branched(self, turn: int, gone: list[ChatMessage]) -> None:
        left = plural(len({said.turn for said in gone}), "turn")
        self.view.show_without(gone)
        self.view.show_notice("info", f"Continuing from turn {turn}; the old branch is kept, with {left} more (F6).")
        self.tell_engine(partial(self.fill, from_disk=False))

    def go_to(self, branch: Sequence[ChatMessage], then: Callable[[], object]) -> None:
        """Switch to another branch of this conversation, then call `then`; a notice if that is not possible now."""
        if self.waits(partial(self.go_to, branch, then)):
            return
        if self.phase is not Phase.OPENING and not self.may_change():
            return
        self.leave_edit()

        def shown(_: object) -> None:
            self.tell_engine(partial(self.fill, from_disk=False))
            then()

        self.change(partial(self.conversation.go_to, branch), shown)
