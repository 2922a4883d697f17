"""The SQL that reads."""

import sqlite3

from chatapp.store import decode
from chatapp.store.rows import Grown, Place, SessionInfo

SESSION = """
    SELECT s.id, s.name, s.model, s.system, s.settings, s.created_at, s.updated_at, s.head_id,
        (SELECT m.id FROM message m WHERE m.session_id = s.id AND m.id = s.head_id),
        (SELECT max(m.id) FROM message m WHERE m.session_id = s.id),
        (SELECT count(*) FROM message m WHERE m.session_id = s.id),
        (SELECT substr(CAST(m.text AS BLOB), 1, 1600) FROM message m WHERE m.session_id = s.id AND m.role = 'user'
            ORDER BY m.id LIMIT 1)
    FROM session s
"""
# The beginning of the first message is read as bytes because `substr` of a text ends at a NUL.

MESSAGE = (
    "m.id, m.session_id, m.parent_id, m.turn, m.role, m.text, m.state, m.stats, m.created_at, m.pinned,"
    " m.tokens, m.model, m.reasoning"
)

PATH = """
    m.session_id = :session AND m.id IN (
        WITH RECURSIVE up (id) AS (
            SELECT :head
            UNION
            SELECT p.parent_id FROM message p JOIN up ON p.id = up.id WHERE p.session_id = :session
        )
        SELECT id FROM up
    )
"""
# UNION, and not UNION ALL: it ends where parents go round in a circle.
HAS_WORDS = """
    (m.text <> '' OR m.reasoning <> '' OR EXISTS (
        SELECT 1 FROM piece p WHERE p.message_id = m.id AND (p.text <> '' OR p.reasoning <> '')
    ))
"""


def session(db: sqlite3.Connection, where: str, *values: int | str | None, order: str = "") -> list[SessionInfo]:
    """The conversations for which `where` holds, most recently written first."""
    chosen = f"SELECT s.id FROM session s WHERE {where} ORDER BY s.written DESC, s.id DESC {order}"
    rows = db.execute(f"{SESSION} WHERE s.id IN ({chosen}) ORDER BY s.written DESC, s.id DESC", values)
    return [decode.session(row) for row in rows]


def pieces(db: sqlite3.Connection, message_id: int) -> Grown:
    """What has been appended to a growing reply and is not yet in its `text` and its `reasoning`."""
    found = db.execute("SELECT text, reasoning FROM piece WHERE message_id = ? ORDER BY seq", (message_id,)).fetchall()
    return Grown(*("".join(map(decode.plain, column)) for column in zip(*found, strict=True))) if found else Grown()


def forks(db: sqlite3.Connection, where: str, *values: int | str | None) -> dict[Place, tuple[int, ...]]:
    """The ids in each place of the tree, the oldest first; an empty reply is not an alternative to another."""
    found: dict[Place, list[int]] = {}
    rows = db.execute(
        f"SELECT m.parent_id, m.role, m.id FROM message m WHERE {where} AND {HAS_WORDS} ORDER BY m.id", values
    )
    for parent_id, role, message_id in rows:
        found.setdefault(decode.place(parent_id, role), []).append(message_id)
    return {place: tuple(ids) for place, ids in found.items()}
