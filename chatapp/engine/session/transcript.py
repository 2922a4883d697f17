"""The text of a branch; the ledger says what of it is cached."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from chatapp.protocol.values import Message


@dataclass(frozen=True, slots=True)
class BranchTranscript:
    """The system prompt and the answered turns: for each one the person's message and the reply, in `messages`.

    `pending` are the tokens that close the last reply and are decoded with the next message
    (docs/decisions/0003).
    """

    system: str | None = None
    messages: tuple[Message, ...] = ()
    pending: tuple[int, ...] = ()

    @classmethod
    def of(cls, system: str | None, messages: Sequence[Message]) -> "BranchTranscript":
        """A whole conversation: pairs of a message and its reply.

        >>> said = [Message(turn=1, role="user", text="a"), Message(turn=1, role="assistant", text="b")]
        >>> BranchTranscript.of(None, said).turns
        (1,)
        """
        return cls(system, tuple(messages))

    @property
    def turns(self) -> tuple[int, ...]:
        """The answered turns, in order."""
        return tuple(message.turn for message in self.messages[::2])

    @property
    def n_turns(self) -> int:
        """How many turns were answered."""
        return len(self.messages) // 2

    @property
    def first(self) -> int | None:
        """The first answered turn."""
        return self.messages[0].turn if self.messages else None

    @property
    def last(self) -> int | None:
        """The last answered turn."""
        return self.messages[-1].turn if self.messages else None

    def of_turn(self, turn: int) -> tuple[Message, ...]:
        """A turn's message and reply; nothing where it was not answered."""
        at = self._at(turn)
        return tuple(message for message in self.messages[at : at + 2] if message.turn == turn)

    def before(self, turn: int) -> tuple[Message, ...]:
        """The message and reply before those of `turn`, from which a template continues."""
        at = self._at(turn)
        return self.messages[max(0, at - 2) : at]

    def _at(self, turn: int) -> int:
        """The index of the messages of `turn`, or where they would be: turns only grow."""
        return bisect_left(self.messages, turn, key=attrgetter("turn"))

    def with_turn(self, turn: int, text: str, reply: str, closing: tuple[int, ...]) -> "BranchTranscript":
        """With one more turn, whose reply the tokens `closing` close."""
        said = (Message(turn=turn, role="user", text=text), Message(turn=turn, role="assistant", text=reply))
        return replace(self, messages=(*self.messages, *said), pending=closing)

    def first_turns(self, n_turns: int) -> "BranchTranscript":
        """Only the first turns.

        >>> three = BranchTranscript().with_turn(1, "a", "b", ()).with_turn(2, "c", "d", ()).with_turn(5, "e", "f", ())
        >>> three.first_turns(2).turns, [message.text for message in three.first_turns(2).messages]
        ((1, 2), ['a', 'b', 'c', 'd'])
        """
        return replace(self, messages=self.messages[: 2 * n_turns])

    def without_last(self) -> "BranchTranscript":
        """Without the last turn."""
        return self.first_turns(max(0, self.n_turns - 1))

    def common_turns(self, other: "BranchTranscript") -> int:
        """How many turns both begin with, word for word.

        >>> def transcript(*texts: str) -> BranchTranscript:
        ...     said = BranchTranscript()
        ...     for turn, text in enumerate(texts, 1):
        ...         said = said.with_turn(turn, text, "yes", ())
        ...     return said
        >>> transcript("a", "b", "c").common_turns(transcript("a", "b", "d", "c"))
        2
        """
        if self.system != other.system:
            return 0
        pairs = zip(self.messages, other.messages, strict=False)
        same = next((at for at, (a, b) in enumerate(pairs) if a != b), min(len(self.messages), len(other.messages)))
        return same // 2
