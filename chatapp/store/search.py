"""Full-text search, newest first, with the first hits at once.

A word that is only begun ("w") may stand in most of half a million messages. SQLite's index collects all of them before
it gives out the first. So the newest messages are searched first, in an index of their own that is made for the moment:
what is frequent is found there. What is not found there is rare, and the large index is quick with that.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from chatapp.errors import DamagedError
from chatapp.store import decode
from chatapp.store.connection import connect, is_interrupt, told
from chatapp.store.rows import Hit

_FIRST, _NEXT = 250, 1_000
"""How many of the newest messages are searched at first, and then at a time."""
_FREQUENT = 5
"""So many hits among the first make it frequent: all are looked for in that way then. SQLite's index would take
seconds to collect them, and cannot be interrupted meanwhile."""
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
_THOSE_WITH = """
    SELECT m.id, CAST(m.text AS TEXT) FROM message_fts JOIN message m ON m.id = message_fts.rowid
    WHERE message_fts MATCH :others AND message_fts.rowid < :before AND (:session IS NULL OR m.session_id = :session)
    ORDER BY message_fts.rowid DESC
"""


class Search:
    """Searches of one dialog, on a connection of their own: neither they nor the chat wait for the other.

    `find` runs in threads; `stop` and `close` return at once.
    """

    def __init__(self, path: Path, mend: Callable[[int | None, str], object]) -> None:
        """`mend` is called with a search that found damage: it may be the index's alone. Raises StoreError."""
        self._mend = mend
        self._path = path
        with told(path):
            self._db = connect(path, "ro", 1.0)
        self._one = threading.Lock()
        self._newest = 0
        """The number of the newest search; older ones end."""
        self._closed = False

    def find(self, session_id: int | None, text: str, limit: int) -> Iterator[list[Hit]]:
        """See `hits`. It ends early where `stop` is called, or another search begins. Raises StoreError."""
        self.stop()
        mine = self._newest
        with self._one:
            try:
                with told(self._path):
                    yield from self._hits(mine, session_id, text, limit)
            except DamagedError:
                self._mend(session_id, text)
                raise
            finally:
                if self._closed:
                    self._db.close()

    def stop(self) -> None:
        """End the search that is under way."""
        self._newest += 1
        if not self._closed:
            self._db.interrupt()

    def close(self) -> None:
        """End the search that is under way; there will be no other."""
        self.stop()
        self._closed = True
        if self._one.acquire(blocking=False):  # else the search closes it
            self._db.close()
            self._one.release()

    def _hits(self, mine: int, session_id: int | None, text: str, limit: int) -> Iterator[list[Hit]]:
        # What is stopped between two statements is not interrupted: it ends with the next one.
        self._db.set_progress_handler(lambda: int(self._newest != mine), 1_000)
        try:
            for some in hits(self._db, session_id, text, limit):
                if self._newest != mine:
                    return
                yield some
        except sqlite3.OperationalError as error:
            if not is_interrupt(error):
                raise


def hits(db: sqlite3.Connection, session_id: int | None, text: str, limit: int) -> Iterator[list[Hit]]:
    """The finished messages that contain every word of `text`, newest first, as they are found; at most `limit`.

    The last word may be a prefix. No character of `text` is query syntax; case and accents are ignored. None for all
    conversations.
    """
    words = _quoted(text)
    if not words:
        return
    *whole, begun = words
    asked = {"session": session_id, "words": " ".join(words), "limit": limit, "before": 2**62}
    found, frequent = 0, False
    while (newest := _newest(db, asked, _NEXT if frequent else _FIRST)) and found < limit:
        some = _among(db, newest, asked)
        if some:
            yield some
        found += len(some)
        asked |= {"before": newest[-1][0], "limit": limit - found}
        if not frequent and len(some) < _FREQUENT:
            break
        frequent = True
    else:
        return
    if whole and _count(db, begun) > _count(db, " ".join(whole)):
        # The word that is only begun is the frequent one: it is looked for among the messages that have the others.
        yield from _among_those_with(db, " ".join(whole), asked, limit - found)
        return
    rows = db.execute(_HITS.format(index="message_fts"), asked)
    while more := rows.fetchmany(_AT_ONCE):
        yield [decode.hit(row) for row in more]


_Texts = list[tuple[int, str]]


def _newest(db: sqlite3.Connection, asked: dict[str, int | str | None], n: int) -> _Texts:
    """The newest messages before an id."""
    select = _NEWEST if asked["session"] is None else _NEWEST_OF_ONE
    return db.execute(select, {**asked, "slice": n}).fetchall()


def _among(db: sqlite3.Connection, texts: _Texts, asked: dict[str, int | str | None]) -> list[Hit]:
    """The hits among these messages, in an index of their own."""
    db.execute("DROP TABLE IF EXISTS temp.newest_fts")
    db.execute(f"CREATE VIRTUAL TABLE temp.newest_fts USING fts5 (text, tokenize = '{_TOKENIZER}')")
    db.executemany("INSERT INTO newest_fts (rowid, text) VALUES (?, ?)", texts)
    return [decode.hit(row) for row in db.execute(_HITS.format(index="newest_fts"), asked)]


def _count(db: sqlite3.Connection, words: str) -> int:
    """In how many of the messages that were searched last."""
    return db.execute("SELECT count(*) FROM newest_fts WHERE newest_fts MATCH ?", (words,)).fetchone()[0]


def _among_those_with(
    db: sqlite3.Connection, words: str, asked: dict[str, int | str | None], limit: int
) -> Iterator[list[Hit]]:
    candidates = db.execute(_THOSE_WITH, {**asked, "others": words})
    while limit > 0 and (texts := candidates.fetchmany(_FIRST)):
        if some := _among(db, texts, {**asked, "limit": limit}):
            yield some
        limit -= len(some)


def _quoted(text: str) -> list[str]:
    """`text` as words of an FTS5 query: `say "hi` becomes `"say"` and `\"\"\"hi\"*`, the last a prefix.

    NULs are removed: FTS5 reads the query as a C string and would miss the closing quote after one.
    """
    words = ['"' + word.replace('"', '""') + '"' for word in text.replace("\0", " ").split()]
    return [*words[:-1], words[-1] + "*"] if words else []
