"""A branch of the conversation, beside the ledger that says what of it the cache holds.

The engine keeps the words of the latest turns only: those that a template looks back at, an undo comes to or another
reply begins from. Of all turns it keeps a number and a hash, 16 bytes together, so that months of talk take no memory
and a conversation is still known again. Who wants an old turn back brings its words along.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from operator import attrgetter
from typing import Final

import msgspec

from chatapp.engine.session.turn_hashes import RECORD_BYTES, Records
from chatapp.protocol.values import Message

LATEST_TURNS: Final = 256
"""Turns of which the words are kept."""
_NUMBER_BYTES: Final = 8
"""Of a record: the turn's number, little-endian; the rest is a hash of its message and reply."""


@dataclass(frozen=True, slots=True)
class Talk:
    """The system prompt and the answered turns: for each one the person's message and the reply.

    `records` are all turns as 16 bytes each, `messages` the words of the latest ones. `pending` are the tokens that
    close the last reply and go into the cache with the next message (docs/decisions/0003).
    """

    system: str | None = None
    records: Records = field(default_factory=Records)
    messages: tuple[Message, ...] = ()
    pending: tuple[int, ...] = ()

    @classmethod
    def of(cls, system: str | None, messages: Sequence[Message]) -> "Talk":
        """A whole conversation: pairs of a message and its reply, all of their words.

        >>> said = [Message(turn=1, role="user", text="a"), Message(turn=1, role="assistant", text="b")]
        >>> Talk.of(None, said).turns, len(Talk.of(None, said).records)
        ((1,), 1)
        """
        pairs = zip(messages[::2], messages[1::2], strict=True)
        return cls(system, Records().and_(_record(user, reply) for user, reply in pairs), tuple(messages))

    @property
    def turns(self) -> tuple[int, ...]:
        """The answered turns, in order."""
        return tuple(map(_turn, self.records))

    @property
    def n_turns(self) -> int:
        """How many turns were answered."""
        return len(self.records)

    @property
    def first(self) -> int | None:
        """The first answered turn."""
        return _turn(self.records[0]) if len(self.records) else None

    @property
    def last(self) -> int | None:
        """The last answered turn."""
        return _turn(self.records[-1]) if len(self.records) else None

    def of_turn(self, turn: int) -> tuple[Message, ...]:
        """A turn's message and reply; nothing where it was not answered, or its words are not kept."""
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
        more = replace(
            self, records=self.records.and_([_record(*said)]), messages=(*self.messages, *said), pending=closing
        )
        return more.shortened()

    def shortened(self) -> "Talk":
        """With the words of the latest turns only."""
        return replace(self, messages=self.messages[-2 * LATEST_TURNS :])

    def first_turns(self, n_turns: int) -> "Talk":
        """The first turns alone.

        >>> three = Talk().with_turn(1, "a", "b", ()).with_turn(2, "c", "d", ()).with_turn(5, "e", "f", ())
        >>> three.first_turns(2).turns, [message.text for message in three.first_turns(2).messages]
        ((1, 2), ['a', 'b', 'c', 'd'])
        """
        left_out = 2 * (self.n_turns - n_turns)
        kept = self.messages[: max(0, len(self.messages) - left_out)]
        return replace(self, records=self.records.first(n_turns), messages=kept)

    def without_last(self) -> "Talk":
        """The last turn left out."""
        return self.first_turns(max(0, self.n_turns - 1))

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
        return self.records.common(other.records)


def _record(user: Message, reply: Message) -> bytes:
    said = blake2b(msgspec.msgpack.encode((user.text, reply.text)), digest_size=RECORD_BYTES - _NUMBER_BYTES).digest()
    return user.turn.to_bytes(_NUMBER_BYTES, "little", signed=True) + said


def _turn(record: bytes) -> int:
    return int.from_bytes(record[:_NUMBER_BYTES], "little", signed=True)
