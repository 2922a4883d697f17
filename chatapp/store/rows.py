"""What the store hands out: plain frozen rows, with nothing of SQLite or of the interface in them."""

from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["user", "assistant"]

Place = tuple[int | None, Role]
"""Where a message stands in the tree: below this one, in this role. Alternatives are messages in one place."""

State = Literal["growing", "done", "stopped", "failed"]
"""`growing` is a reply that this very store is writing. One that another process writes, or was writing when it
died, reads as `stopped`: from outside, the two cannot be told apart."""

FinalState = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class SessionInfo:
    """One conversation. Times are Unix seconds."""

    id: int
    name: str | None
    title: str
    """The first thing the person wrote, on one line and cut to 80 characters; "" before that."""
    model: str
    system: str | None
    settings: dict[str, Any]
    created_at: float
    updated_at: float
    n_messages: int
    """Messages of all branches together."""
    head_id: int | None
    """The last message of the branch that is shown; None at the very beginning."""


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
    """The turn that this message of the person begins is kept in the window for good."""


@dataclass(frozen=True)
class Hit:
    """One message that a search found; `snippet` is a line of about 16 words around what matched."""

    session_id: int
    session_name: str | None
    message_id: int
    turn: int
    role: Role
    snippet: str
    created_at: float
