"""A branch of the conversation as text, beside the ledger that says what of it the cache holds."""

from bisect import bisect_left
from dataclasses import dataclass, replace
from operator import attrgetter

from chatapp.engine.protocol import Message


@dataclass(frozen=True, slots=True)
class Talk:
    """The system prompt and the answered turns: for each one the person's message and the reply.

    `pending` are the tokens that close the last reply and go into the cache with the next message
    (docs/decisions/0003).
    """

    system: str | None = None
    messages: tuple[Message, ...] = ()
    pending: tuple[int, ...] = ()

    @property
    def turns(self) -> tuple[int, ...]:
        """The answered turns, in order."""
        return tuple(message.turn for message in self.messages[::2])

    @property
    def last(self) -> int | None:
        """The last answered turn."""
        return self.messages[-1].turn if self.messages else None

    def of_turn(self, turn: int) -> tuple[Message, ...]:
        """A turn's message and reply; nothing where it was not answered."""
        at = self._at(turn)
        return tuple(message for message in self.messages[at : at + 2] if message.turn == turn)

    def before(self, turn: int) -> tuple[Message, ...]:
        """The message and reply before those of `turn`, which say how a template goes on."""
        at = self._at(turn)
        return self.messages[max(0, at - 2) : at]

    def _at(self, turn: int) -> int:
        """Where the messages of `turn` are, or would be: turns only grow."""
        return bisect_left(self.messages, turn, key=attrgetter("turn"))

    def with_turn(self, turn: int, text: str, reply: str, closing: tuple[int, ...]) -> "Talk":
        """And one turn more."""
        said = (Message(turn=turn, role="user", text=text), Message(turn=turn, role="assistant", text=reply))
        return replace(self, messages=(*self.messages, *said), pending=closing)

    def without_last(self) -> "Talk":
        """The last turn left out."""
        return replace(self, messages=self.messages[:-2])

    def common_turns(self, other: "Talk") -> int:
        """How many turns both begin with, word for word.

        >>> def talk(*texts: str) -> Talk:
        ...     said = Talk()
        ...     for turn, text in enumerate(texts, 1):
        ...         said = said.with_turn(turn, text, "yes", ())
        ...     return said
        >>> talk("a", "b", "c").common_turns(talk("a", "b", "d", "c"))
        2
        """
        if self.system != other.system:
            return 0
        pairs = zip(self.messages, other.messages, strict=False)
        return next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(self.messages), len(other.messages))) // 2
