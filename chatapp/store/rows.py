"""What the store returns: plain frozen rows, independent of SQLite and of the interface."""

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

Role = Literal["user", "assistant"]

Place = tuple[int | None, Role]
"""A message's place in the tree: its parent and its role. Alternatives are messages in the same place."""

State = Literal["growing", "done", "stopped", "failed"]
"""`growing` is a reply that this very store is writing. One that another process is writing, or was writing when it
died, reads as `stopped`: from outside, the two cannot be distinguished."""

FinalState = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class SessionInfo:
    """One conversation. Times are Unix seconds; None where the file holds none that a calendar has."""

    id: int
    name: str | None
    title: str
    """The user's first message, on one line and cut to 80 characters; "" before that."""
    model: str
    system: str | None
    settings: dict[str, Any]
    created_at: float | None
    updated_at: float | None
    n_messages: int
    """Messages of all branches together."""
    head_id: int | None
    """The last message of the current branch; None at the very beginning."""
    damage: tuple[str, ...] = ()
    """The columns that could not be read as they are stored."""


@dataclass(frozen=True)
class StoredMessage:
    """One message of the tree. `created_at` is Unix seconds; `stats` is None until the message is finished.

    Where `text` is damaged, it is what can be read of it.
    """

    id: int
    session_id: int
    parent_id: int | None
    turn: int
    role: Role
    text: str
    state: State
    stats: dict[str, Any] | None
    created_at: float | None
    pinned: bool
    """The turn that this user message begins is pinned."""
    tokens: bytes = b""
    """Of a reply: the ids of its tokens as the model made them, unsigned little-endian numbers of 32 bits; empty where
    they are not known."""
    model: str = ""
    """The digest of the model that made them."""
    reasoning: str = ""
    """Of a reply: what the model thought before it."""
    damage: tuple[str, ...] = ()
    """The columns that could not be read as they are stored."""


class Grown(NamedTuple):
    """What a growing reply has more than its row."""

    text: str = ""
    reasoning: str = ""


@dataclass(frozen=True)
class Hit:
    """One message found by a search; `snippet` is a line of about 16 words around the match."""

    session_id: int
    session_name: str | None
    message_id: int
    turn: int
    role: Role
    snippet: str
    created_at: float | None
