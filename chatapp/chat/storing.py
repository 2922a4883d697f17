"""What a chat stores, off the event loop: one thing after the other, with what is asked for meanwhile waiting its turn.

Another program may lock the database for any time. Until it is free nothing has changed, neither here nor in the
engine, and Esc takes it back; keys are heard meanwhile.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from chatapp.chat.conversation import Conversation
from chatapp.chat.state import ChatState
from chatapp.chat.view import Phase, View
from chatapp.errors import StoreError
from chatapp.store import AtOnce, SavedCaches, Writer

T = TypeVar("T")


class ChatStoring(ChatState):
    """A chat's way to its store."""

    def __init__(
        self, view: View, conversation: Conversation, *, saved: SavedCaches | None = None, writer: Writer | None = None
    ) -> None:
        """`writer` has things stored; None does it at once."""
        super().__init__(view, conversation, saved=saved)
        self._writer: Writer = writer or AtOnce()
        self.storing = ""
        """The text of the message that is being stored."""
        self._stored = self._asked_for = 0
        """How many changes have been stored, or could not be, and how many were asked for."""
        self._withdraw: Callable[[], None] = lambda: None
        """Takes back what is being stored, if another program's lock keeps it from that."""
        self._withdrawn = False
        self._waiting: deque[Callable[[], object]] = deque()
        """What the person did while something else was being stored."""

    def change(
        self,
        work: Callable[[], T],
        then: Callable[[T], object],
        failed: Callable[[StoreError], object] | None = None,
        *,
        text: str = "",
    ) -> None:
        """Have the conversation changed and stored by `work`; the phase is STORING until then.

        `failed` undoes what was done before that, if anything; `text` is the person's, to be kept meanwhile. The
        engine is told by `then`, through `tell_engine`: it may have ended in the meantime.
        """
        self._asked_for += 1
        mine = self._asked_for
        self.phase, self.done, self._withdrawn, self.storing = Phase.STORING, None, False, text
        withdraw = self._writer.do(work, partial(self._changed, then), partial(self._unchanged, failed))
        if self._asked_for == mine and self._under_way:
            self._withdraw = withdraw
            self.view.show_phase()

    def aside(
        self,
        work: Callable[[], T],
        then: Callable[[T], object] | None = None,
        failed: Callable[[StoreError], object] | None = None,
    ) -> None:
        """Have something stored that changes nothing for the engine, in whatever phase; `failed` is called once the
        person has been told.
        """

        def told(error: StoreError) -> None:
            self._tell_not_stored(error)
            if failed is not None:
                failed(error)

        self._writer.do(work, then or _nothing, told)

    def waits(self, do: Callable[[], object]) -> bool:
        """True if `do` must wait its turn, because a change is being stored; it is called then.

        Nothing waits behind a message: its reply comes first.
        """
        if self.phase is not Phase.STORING or self.storing or self.queue:
            return False
        self._waiting.append(do)
        return True

    def take_back_change(self) -> None:
        """Take back what another program's lock keeps from being stored, and all that waits for it."""
        self._withdrawn = True
        self._withdraw()

    def tell_engine(self, tell: Callable[[], object]) -> None:
        """The conversation has changed: `tell` the engine, unless it has ended meanwhile and is told all of it anew."""
        if self.phase is Phase.IDLE:
            tell()
        elif self.phase is Phase.OPENING:
            self.fill(from_disk=False)

    def enter(self, phase: Phase, done: tuple[int, int] | None = None) -> None:
        """See ChatState. The chat is not idle while something is being stored."""
        super().enter(Phase.STORING if phase is Phase.IDLE and self._under_way else phase, done)

    def ready(self) -> None:
        """Nothing is going on any more: go on with what waits."""
        self.enter(Phase.IDLE)
        self._next()

    def ask(self, text: str) -> None:
        """Store a message and send it."""
        raise NotImplementedError

    # ----------------------------------------------------------------------- inside

    @property
    def _under_way(self) -> bool:
        return self._stored < self._asked_for

    def _changed(self, then: Callable[[T], object], found: T) -> None:
        self._end_storing()
        then(found)
        self.view.show_phase()
        self._next()

    def _unchanged(self, failed: Callable[[StoreError], object] | None, error: StoreError) -> None:
        self._end_storing()
        self._waiting.clear()
        self.give_queue_back()
        if failed is not None:
            failed(error)
        else:
            self.tell_unchanged(error)
        self.view.show_phase()

    def _end_storing(self) -> None:
        self._stored += 1
        self.storing = ""
        if self.phase is Phase.STORING:  # else the engine has ended meanwhile
            self.phase, self.done = (Phase.OPENING if self._opening else Phase.IDLE), None

    def tell_unchanged(self, error: StoreError) -> None:
        """Say why nothing was changed, unless the person took it back."""
        if not self._withdrawn:
            self._tell_not_stored(error)

    def _tell_not_stored(self, error: StoreError) -> None:
        self.view.show_notice("error", str(error))

    def _next(self) -> None:
        while self._waiting and self.phase not in (Phase.STORING, Phase.OPENING):
            self._waiting.popleft()()
        if self.phase is Phase.IDLE and self.queue:
            text = self.queue.popleft()
            self.view.show_queue()
            self.ask(text)


def _nothing(_: object) -> None:
    pass
