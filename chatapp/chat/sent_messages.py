"""What of a stored conversation goes to the engine beyond its text."""

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import structs

from chatapp.protocol.values import Message

_TOKEN_BYTES = 4


class Said(Protocol):
    """A message as the chat or the store has it."""

    @property
    def turn(self) -> int: ...
    @property
    def role(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def tokens(self) -> bytes: ...
    @property
    def model(self) -> str: ...
    @property
    def reasoning(self) -> str: ...


def message_of(said: Said) -> Message:
    """The message with all that the engine may want to know of it."""
    return Message(
        turn=said.turn,
        role=said.role,
        text=said.text,
        tokens=said.tokens,
        model=said.model,
        reasoning=said.reasoning,
    )


def for_window(messages: Sequence[Message], n_ctx: int, pinned: Collection[int]) -> list[Message]:
    """The messages, of which only those have their tokens and their reasoning that a window of `n_ctx` tokens can hold:
    the newest ones, the one that the window's edge is in included, and those of `pinned` turns.

    >>> ten = bytes(40)
    >>> said = [Message(turn=turn, role="assistant", text="a", tokens=ten, model="m") for turn in (1, 2, 3, 4)]
    >>> [len(message.tokens) // 4 for message in for_window(said, 15, {1})]
    [10, 0, 10, 10]
    """
    sent: list[Message] = []
    left = n_ctx
    for message in reversed(messages):
        if message.turn in pinned:
            sent.append(message)
        elif left > 0:
            sent.append(message)
            left -= len(message.tokens) // _TOKEN_BYTES
        else:
            sent.append(structs.replace(message, tokens=b"", model="", reasoning=""))
    return sent[::-1]
