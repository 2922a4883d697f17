"""What the store returns: plain frozen rows, independent of SQLite and of the interface."""

from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["user", "assistant"]

Place = tuple[int | None, Role]
"""A message's place in the tree: its parent and its role. Alternatives are messages in the same place."""

State = Literal["growing", "done", "stopped", "failed"]
"""`growing` is a reply that this very store is writing. One that another process is writing, or was writing when it
died, reads as `stopped`: from outside, the two cannot be distinguished."""

FinalState = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class SessionInfo:
    """One conversation. Times are Unix seconds."""

    id: int
    name: str | None
    title: str
    """The user's first message, on one line and cut to 80 characters; "" before that."""
    model: str
    system: str | None
    settings: dict[str, Any]
    created_at: float
    updated_at: float
    n_messages: int
    """Messages of all branches together."""
    head_id: int | None
    """The last message of the current branch; None at the very beginning."""


@dataclass(frozen=True)
class StoredMessage:
    """One message of the tree. `created_at` is Unix seconds; `stats` is None until the message is finished."""

    id: int
    session_id: int
    parent_id: int | None
    turn: int
    role: Role
    text: str
    state: State
    stats: dict[str, Any] | None
    created_at: float
    pinned: bool
    """The turn that this user message begins is pinned."""


@dataclass(frozen=True)
class Hit:
    """One message found by a search; `snippet` is a line of about 16 words around the match."""

    session_id: int
    session_name: str | None
    message_id: int
    turn: int
    role: Role
    snippet: str
    created_at: float
