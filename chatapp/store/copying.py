"""A branch of one conversation, copied into a new one."""

import sqlite3
import time

from chatapp.store import queries

_COPIED = "INSERT INTO session (model, system, settings, created_at, updated_at) SELECT model, system, settings, ?, ?"


def copy_branch(db: sqlite3.Connection, session_id: int) -> int | None:
    """Copy the branch that is shown, in a transaction that is open; the id of the new conversation.

    None where there is no such conversation. A reply that is growing is copied as far as it is stored, as stopped.
    """
    now = time.time()
    made = db.execute(f"{_COPIED} FROM session WHERE id = ?", (now, now, session_id))
    if made.rowcount == 0:
        return None
    copy, head = made.lastrowid, None
    assert copy is not None  # it is None before the first INSERT only
    rows = db.execute(
        f"SELECT m.id, m.turn, m.role, m.text, m.state, m.stats, m.created_at, m.pinned FROM message m"
        f" WHERE {queries.PATH} ORDER BY m.id",
        (session_id,),
    ).fetchall()
    for id, turn, role, text, state, *rest in rows:
        growing = state == "growing"
        head = db.execute(
            "INSERT INTO message (session_id, parent_id, turn, role, text, state, stats, created_at, pinned)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (copy, head, turn, role, text + queries.pieces(db, id) if growing else text,
             "stopped" if growing else state, *rest),
        ).lastrowid  # fmt: skip
    db.execute("UPDATE session SET head_id = ? WHERE id = ?", (head, copy))
    return copy
