"""Full-text search, newest first, with the first hits at once.

A word that is only begun ("w") may stand in most of half a million messages. SQLite's index collects all of them before
it gives out the first. So the newest messages are searched first, in an index of their own that is made for the moment:
what is frequent is found there. What is not found there is rare, and the large index is quick with that.
"""

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from chatapp.store import decode
from chatapp.store.connection import connect, is_interrupt, told
from chatapp.store.rows import Hit

_SLICES = (250, 1_000, 4_000, 12_000)
"""How many of the newest messages are searched at a time, before the large index is asked."""
_AT_ONCE = 20
"""Hits that the large index hands over together."""

_TOKENIZER = "unicode61 remove_diacritics 2"

_COLUMNS = "m.session_id, s.name, m.id, m.turn, m.role, snippet({index}, 0, '', '', '…', 16), m.created_at"
_HITS = f"""
    SELECT {_COLUMNS}
    FROM {{index}}
    JOIN message m ON m.id = {{index}}.rowid
    JOIN session s ON s.id = m.session_id
    WHERE {{index}} MATCH :words AND {{index}}.rowid < :before AND (:session IS NULL OR m.session_id = :session)
    ORDER BY {{index}}.rowid DESC
    LIMIT :limit
"""
_NEWEST = """
    SELECT m.id, CAST(m.text AS TEXT) FROM message m
    WHERE m.id < :before
    ORDER BY m.id DESC LIMIT :slice
"""
_NEWEST_OF_ONE = """
    SELECT m.id, CAST(m.text AS TEXT) FROM message m
    WHERE m.id < :before AND m.session_id = :session
    ORDER BY m.id DESC LIMIT :slice
"""


class Search:
    """Searches of one dialog, on a connection of their own: neither they nor the chat wait for the other.

    `find` runs in a thread; `stop` may be called from any other.
    """

    def __init__(self, path: Path) -> None:
        """Raises StoreError."""
        self._path = path
        with told(path):
            self._db = connect(path, "ro", 1.0)
        self._lock = threading.Lock()

    def find(self, session_id: int | None, text: str, limit: int) -> Iterator[list[Hit]]:
        """See `hits`; ends where `stop` is called. A search that is under way is stopped first."""
        self.stop()
        with self._lock, told(self._path):
            try:
                yield from hits(self._db, session_id, text, limit)
            except sqlite3.OperationalError as error:
                if not is_interrupt(error):
                    raise

    def stop(self) -> None:
        """End the search that is under way."""
        self._db.interrupt()

    def close(self) -> None:
        """End the search that is under way, and close."""
        self.stop()
        with self._lock:
            self._db.close()


def hits(db: sqlite3.Connection, session_id: int | None, text: str, limit: int) -> Iterator[list[Hit]]:
    """The finished messages that contain every word of `text`, newest first, as they are found; at most `limit`.

    The last word may be a prefix. No character of `text` is query syntax; case and accents are ignored. None for all
    conversations.
    """
    words = _quoted(text)
    if not words:
        return
    before = 2**62
    for size in _SLICES:
        oldest, found = _in_slice(db, session_id, words, before, size, limit)
        if found:
            yield found
        limit -= len(found)
        if oldest is None or limit <= 0:
            return
        before = oldest
    asked = {"words": words, "before": before, "session": session_id, "limit": limit}
    rows = db.execute(_HITS.format(index="message_fts"), asked)
    while some := rows.fetchmany(_AT_ONCE):
        yield [decode.hit(row) for row in some]


def _in_slice(
    db: sqlite3.Connection, session_id: int | None, words: str, before: int, size: int, limit: int
) -> tuple[int | None, list[Hit]]:
    """The hits among the newest messages before an id, and the oldest of these messages; None if there are no more."""
    asked = {"before": before, "session": session_id, "slice": size}
    newest = db.execute(_NEWEST if session_id is None else _NEWEST_OF_ONE, asked).fetchall()
    if not newest:
        return None, []
    db.execute("DROP TABLE IF EXISTS temp.newest_fts")
    db.execute(f"CREATE VIRTUAL TABLE temp.newest_fts USING fts5 (text, tokenize = '{_TOKENIZER}')")
    db.executemany("INSERT INTO newest_fts (rowid, text) VALUES (?, ?)", newest)
    wanted = {"words": words, "before": before, "session": session_id, "limit": limit}
    found = [decode.hit(row) for row in db.execute(_HITS.format(index="newest_fts"), wanted)]
    return (newest[-1][0] if len(newest) == size else None), found


def _quoted(text: str) -> str:
    """`text` as an FTS5 query of plain words: `say "hi` becomes `"say" \"\"\"hi\"*` (all of them, the last a prefix).

    NULs are removed: FTS5 reads the query as a C string and would miss the closing quote after one.
    """
    words = ['"' + word.replace('"', '""') + '"' for word in text.replace("\0", " ").split()]
    return " ".join(words) + "*" if words else ""
