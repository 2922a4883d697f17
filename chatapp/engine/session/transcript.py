"""The text of a branch; the ledger says what of it is cached."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter

from chatapp.protocol.values import Message


@dataclass(frozen=True, slots=True)
class BranchTranscript:
    """The system prompt and the answered turns: for each one the person's message and the reply, in `messages`.

    `pending` is the markup that closes the last reply and is decoded with the next message (docs/decisions/0003).
    """

    system: str | None = None
    messages: tuple[Message, ...] = ()
    pending: str = ""

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

    def with_turn(self, text: str, reply: Message, closing: str = "") -> "BranchTranscript":
        """With one more turn, whose reply the markup `closing` closes.

        >>> said = BranchTranscript().with_turn("Hi", Message(turn=1, role="assistant", text="Hello"), "<end>")
        >>> said.turns, said.pending
        ((1,), '<end>')
        """
        asked = Message(turn=reply.turn, role="user", text=text)
        return replace(self, messages=(*self.messages, asked, reply), pending=closing)

    def first_turns(self, n_turns: int) -> "BranchTranscript":
        """Only the first turns.

        >>> three = BranchTranscript()
        >>> for turn in (1, 2, 5):
        ...     three = three.with_turn("a", Message(turn=turn, role="assistant", text="b"))
        >>> three.first_turns(2).turns
        (1, 2)
        """
        return replace(self, messages=self.messages[: 2 * n_turns])

    def without_last(self) -> "BranchTranscript":
        """Without the last turn."""
        return self.first_turns(max(0, self.n_turns - 1))

    def common_turns(self, other: "BranchTranscript") -> int:
        """How many turns both begin with, word for word, and where the tokens of both are known, token for token: two
        replies that were stopped while the model thought are both empty.

        >>> def transcript(*texts: str) -> BranchTranscript:
        ...     said = BranchTranscript()
        ...     for turn, text in enumerate(texts, 1):
        ...         said = said.with_turn(text, Message(turn=turn, role="assistant", text="yes"))
        ...     return said
        >>> transcript("a", "b", "c").common_turns(transcript("a", "b", "d", "c"))
        2
        """
        if self.system != other.system:
            return 0
        pairs = zip(self.messages, other.messages, strict=False)
        differ = (at for at, (a, b) in enumerate(pairs) if not _same(a, b))
        same = next(differ, min(len(self.messages), len(other.messages)))
        return same // 2


def _same(a: Message, b: Message) -> bool:
    if (a.turn, a.role, a.text) != (b.turn, b.role, b.text):
        return False
    return not (a.tokens and b.tokens and a.model == b.model) or a.tokens == b.tokens
