"""The SQL that reads, and the rows made from its results."""

import json
import sqlite3
from typing import Any

from chatapp.store.rows import Hit, Place, SessionInfo, StoredMessage

_SESSION = """
    SELECT s.id, s.name, s.model, s.system, s.settings, s.created_at, s.updated_at, s.head_id,
        (SELECT count(*) FROM message m WHERE m.session_id = s.id),
        (SELECT substr(CAST(m.text AS BLOB), 1, 1600) FROM message m WHERE m.session_id = s.id AND m.role = 'user'
            ORDER BY m.id LIMIT 1)
    FROM session s
"""
# The beginning of the first message is read as bytes because `substr` of a text ends at a NUL.
_TITLE_CHARACTERS = 80

MESSAGE = "m.id, m.session_id, m.parent_id, m.turn, m.role, m.text, m.state, m.stats, m.created_at, m.pinned"

PATH = """
    m.id IN (
        WITH RECURSIVE up (id) AS (
            SELECT head_id FROM session WHERE id = ?
            UNION ALL
            SELECT p.parent_id FROM message p JOIN up ON p.id = up.id
        )
        SELECT id FROM up
    )
"""
HAS_WORDS = "(m.text <> '' OR EXISTS (SELECT 1 FROM piece p WHERE p.message_id = m.id AND p.text <> ''))"

_SEARCH = """
    SELECT m.session_id, s.name, m.id, m.turn, m.role, snippet(message_fts, 0, '', '', '…', 16), m.created_at
    FROM message_fts
    JOIN message m ON m.id = message_fts.rowid
    JOIN session s ON s.id = m.session_id
    WHERE message_fts MATCH :words AND (:session IS NULL OR m.session_id = :session)
    ORDER BY rank
    LIMIT :limit
"""


def session(db: sqlite3.Connection, where: str, *values: int | str | None, order: str = "") -> list[SessionInfo]:
    """The conversations for which `where` holds, most recently written first."""
    rows = db.execute(f"{_SESSION} WHERE {where} ORDER BY s.updated_at DESC, s.id DESC {order}", values)
    return [_session(*row) for row in rows]


def _session(
    id: int, name: str | None, model: str, system: str | None, settings: str, created_at: float, updated_at: float,
    head_id: int | None, n_messages: int, first: bytes | None,
) -> SessionInfo:  # fmt: skip
    return SessionInfo(
        id=id,
        name=name,
        title=" ".join((first or b"").decode(errors="ignore").split())[:_TITLE_CHARACTERS],
        model=model,
        system=system,
        settings=json.loads(settings),
        created_at=created_at,
        updated_at=updated_at,
        n_messages=n_messages,
        head_id=head_id,
    )


def pieces(db: sqlite3.Connection, message_id: int) -> str:
    """What has been appended to a growing reply and is not yet in its `text`."""
    found = db.execute("SELECT text FROM piece WHERE message_id = ? ORDER BY seq", (message_id,))
    return "".join(text for (text,) in found)


def message(row: tuple[Any, ...], *, grown: str, growing_here: bool) -> StoredMessage:
    """The message in a row of MESSAGE. One that is growing elsewhere, or was when a process died, reads as stopped."""
    id, session_id, parent_id, turn, role, text, state, stats, created_at, pinned = row
    return StoredMessage(
        id=id,
        session_id=session_id,
        parent_id=parent_id,
        turn=turn,
        role=role,
        text=text + grown,
        state="stopped" if state == "growing" and not growing_here else state,
        stats=None if stats is None else json.loads(stats),
        created_at=created_at,
        pinned=bool(pinned),
    )


def forks(db: sqlite3.Connection, where: str, *values: int | str | None) -> dict[Place, tuple[int, ...]]:
    """The ids in each place of the tree, the oldest first; an empty reply is not an alternative to another."""
    found: dict[Place, list[int]] = {}
    rows = db.execute(
        f"SELECT m.parent_id, m.role, m.id FROM message m WHERE {where} AND {HAS_WORDS} ORDER BY m.id", values
    )
    for parent_id, role, message_id in rows:
        found.setdefault((parent_id, role), []).append(message_id)
    return {place: tuple(ids) for place, ids in found.items()}


def search(db: sqlite3.Connection, session_id: int | None, text: str, limit: int) -> list[Hit]:
    """The finished messages that contain every word of `text`, best match first."""
    words = _quoted(text)
    if not words:
        return []
    return [
        Hit(
            session_id=session_id,
            session_name=name,
            message_id=message_id,
            turn=turn,
            role=role,
            snippet=" ".join(snippet.split()),
            created_at=created_at,
        )
        for session_id, name, message_id, turn, role, snippet, created_at in db.execute(
            _SEARCH, {"words": words, "session": session_id, "limit": limit}
        )
    ]


def _quoted(text: str) -> str:
    """`text` as an FTS5 query of plain words: `say "hi` becomes `"say" \"\"\"hi\"*` (all of them, the last a prefix).

    NULs are removed: FTS5 reads the query as a C string and would miss the closing quote after one.
    """
    words = ['"' + word.replace('"', '""') + '"' for word in text.replace("\0", " ").split()]
    return " ".join(words) + "*" if words else ""
