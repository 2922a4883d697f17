"""A branch of one conversation, copied into a new one."""

import json
import sqlite3
from collections.abc import Sequence

from chatapp.store.rows import StoredMessage


def copy_messages(db: sqlite3.Connection, session_id: int, branch: Sequence[StoredMessage]) -> int | None:
    """Add the messages of a branch to a conversation that has none, in a transaction that is open; the last one's id.

    A reply that is growing elsewhere is copied as far as it is stored, and has been stopped there.
    """
    head: int | None = None
    for said in branch:
        head = db.execute(
            "INSERT INTO message (session_id, parent_id, turn, role, text, state, stats, created_at, pinned,"
            " tokens, model, reasoning) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                session_id,
                head,
                said.turn,
                said.role,
                said.text,
                "stopped" if said.state == "growing" else said.state,
                None if said.stats is None else json.dumps(said.stats),
                said.created_at,
                said.pinned,
                said.tokens or None,
                said.model or None,
                said.reasoning,
            ),
        ).lastrowid
    return head
