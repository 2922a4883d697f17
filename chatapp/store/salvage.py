"""What can still be read of a damaged database, in one that is whole."""

import json
import math
import sqlite3
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any

from chatapp.errors import DamagedError
from chatapp.store import decode, image, queries
from chatapp.store.connection import empty, in_memory, open_alone, told
from chatapp.store.files import cannot, one_opener, set_aside
from chatapp.store.rows import Grown, StoredMessage

_MOST_GAPS = 200
"""Damaged places that are stepped over in one table."""
_SESSION = "s.id, s.name, s.model, s.system, s.settings, s.created_at, s.updated_at, s.head_id"


def salvaged(path: Path) -> sqlite3.Connection:
    """A new database in memory with all rows of the file that can be read; its own schema is not looked at.

    A conversation whose own row is lost is there without name and model. Raises StoreError where there is no file.
    """
    try:
        pages = image.with_new_schema(path)
    except OSError as error:
        raise cannot(f"read the conversation database {path}", error) from error
    whole = empty()
    if pages:
        damaged = in_memory(pages)
        try:
            _copy(damaged, whole)
        finally:
            damaged.close()
    return whole


def repair(path: Path, busy_s: float) -> Path | None:
    """Set a damaged file aside, with a new one in its place that has what can be read of it; the former's new path.

    None, with nothing done, where it is not damaged. Raises StoreError.
    """
    with one_opener(path, busy_s):
        try:
            open_alone(path, busy_s).close()
            return None
        except DamagedError:
            pass
        with told(path):
            whole = salvaged(path)
            try:
                pages = whole.serialize()
            finally:
                whole.close()
        return set_aside(path, busy_s, pages)


def _copy(damaged: sqlite3.Connection, whole: sqlite3.Connection) -> None:
    pieces: dict[int, dict[int, Grown]] = {}
    select = "SELECT p.message_id, p.seq, p.text, p.reasoning FROM piece p"
    for message_id, seq, text, reasoning in _rows(damaged, select, "p.message_id"):
        if isinstance(message_id, int) and isinstance(seq, int):
            pieces.setdefault(message_id, {})[seq] = Grown(decode.plain(text), decode.plain(reasoning))
    raw: dict[int, list[tuple[Any, ...]]] = {}
    seen: set[int] = set()
    for row in _rows(damaged, f"SELECT {queries.MESSAGE} FROM message m NOT INDEXED", "m.id"):
        if isinstance(row[1], int) and row[0] > 0 and row[0] not in seen:  # a damaged page may be reached twice
            seen.add(row[0])
            raw.setdefault(row[1], []).append(row)
    found: dict[int, list[StoredMessage]] = {}
    for session_id, rows in raw.items():
        rows.sort(key=lambda row: row[0])
        grown = [_joined(pieces.get(row[0], {})) for row in rows]
        found[session_id] = decode.messages((row, more, False) for row, more in zip(rows, grown, strict=True))
    whole.execute("BEGIN")
    told: dict[int, tuple[Any, ...]] = {}
    for row in _rows(damaged, f"SELECT {_SESSION} FROM session s NOT INDEXED", "s.id"):
        told[row[0]] = row
    names: set[str] = set()
    for session_id in sorted(told.keys() | found.keys()):
        _add(whole, session_id, told.get(session_id), found.get(session_id, []), names)
    _add_drafts(whole, damaged, told.keys() | found.keys())
    whole.execute("COMMIT")


def _joined(pieces: dict[int, Grown]) -> Grown:
    in_order = [piece for _, piece in sorted(pieces.items())]
    return Grown("".join(piece.text for piece in in_order), "".join(piece.reasoning for piece in in_order))


def _add(
    whole: sqlite3.Connection,
    session_id: int,
    row: tuple[Any, ...] | None,
    messages: list[StoredMessage],
    names: set[str],
) -> None:
    ids = {message.id for message in messages}
    last = max(ids, default=None)
    row = row or (session_id, None, "", None, "{}", None, None, last)
    info = decode.session((*row, row[7] if row[7] in ids else None, last, len(ids), None))
    name = info.name if info.name not in names else None
    if name is not None:
        names.add(name)
    times = [message.created_at for message in messages if message.created_at is not None]
    created = info.created_at if info.created_at is not None else min(times, default=0.0)
    updated = info.updated_at if info.updated_at is not None else max(times, default=created)
    whole.execute(
        "INSERT INTO session (id, name, model, system, settings, created_at, updated_at, written)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (session_id, name, info.model, info.system, json.dumps(info.settings), created, updated, last or 0),
    )
    whole.executemany(
        "INSERT INTO message (id, session_id, parent_id, turn, role, text, state, stats, created_at, pinned,"
        " tokens, model, reasoning) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                said.id, session_id, said.parent_id, said.turn, said.role, said.text, said.state,
                None if said.stats is None else json.dumps(said.stats),
                created if said.created_at is None else said.created_at, int(said.pinned),
                said.tokens or None, said.model or None, said.reasoning,
            )
            for said in messages
        ],
    )  # fmt: skip
    whole.execute("UPDATE session SET head_id = ? WHERE id = ?", (info.head_id, session_id))


def _add_drafts(whole: sqlite3.Connection, damaged: sqlite3.Connection, sessions: Set[int]) -> None:
    """What was typed and not sent; one conversation has one draft."""
    select = "SELECT d.id, d.session_id, d.name, d.text, d.written_at FROM draft d NOT INDEXED"
    for draft_id, session_id, name, text, written_at in _rows(damaged, select, "d.id"):
        of = session_id if session_id in sessions else None
        when = written_at if isinstance(written_at, float) and math.isfinite(written_at) else 0.0
        title = None if of is not None or name is None else decode.plain(name)
        whole.execute(
            "INSERT OR IGNORE INTO draft (id, session_id, name, text, written_at) VALUES (?, ?, ?, ?, ?)",
            (draft_id, of, title, decode.plain(text), when),
        )


def _rows(db: sqlite3.Connection, select: str, key: str) -> Iterator[tuple[Any, ...]]:
    """The rows that can be read, by ascending key; steps over places that cannot."""
    after, step = -(2**62), 1
    highest = _highest(db, select, key)
    for _ in range(_MOST_GAPS):
        try:
            for row in db.execute(f"{select} WHERE {key} > ? ORDER BY {key}", (after,)):
                if isinstance(row[0], int):
                    after, step = max(after, row[0]), 1
                yield row
        except (sqlite3.Error, UnicodeDecodeError, MemoryError):
            after = max(after, 0) + step
            step *= 2
            if after >= highest:
                return
        else:
            return


def _highest(db: sqlite3.Connection, select: str, key: str) -> int:
    """The last key that can be read from the other end."""
    try:
        row = db.execute(f"{select} ORDER BY {key} DESC LIMIT 1").fetchone()
    except (sqlite3.Error, UnicodeDecodeError, MemoryError):
        return 2**40
    return row[0] if row is not None and isinstance(row[0], int) else 2**40
