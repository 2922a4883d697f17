"""Opening the database, with one-line errors where it cannot be opened, read or written."""

import contextlib
import re
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path

from chatapp.errors import BusyError, DamagedError, StoreError
from chatapp.store import decode, image
from chatapp.store.files import cannot, make_private, one_opener
from chatapp.store.schema import APPLICATION_ID, MIGRATIONS, changed_in, migrate, odd_in, version_of
from chatapp.text import visible

_RETRY_S = 0.02
_LONGEST = 200


def open_database(path: Path, busy_s: float) -> sqlite3.Connection:
    """An open, checked and migrated database.

    The connection is in autocommit mode and may be used from any thread, one at a time. It waits up to `busy_s`
    seconds for another process's lock. Raises StoreError; a damaged file is not touched.
    """
    with one_opener(path, busy_s):
        return open_alone(path, busy_s)


def open_alone(path: Path, busy_s: float) -> sqlite3.Connection:
    """`open_database`, for one who holds `one_opener`."""
    with told(path):
        make_private(path)
        return _open_patiently(path, busy_s)


def open_to_read(path: Path, busy_s: float) -> sqlite3.Connection:
    """A connection that reads only, where the file cannot be written: in place, else all of it in memory.

    The latter is needed where the folder has no shared memory of the log and cannot be written, and for a file of an
    older version. Raises StoreError.
    """
    with told(path):
        db = connect(path, "ro", busy_s)
        try:
            _refuse_strangers(db, path)
            if version_of(db) == len(MIGRATIONS):
                _check_pages(db)
                _check_schema(db)
                return db
        except sqlite3.OperationalError:  # there is nowhere to put the shared memory
            pass
        except BaseException:
            db.close()
            raise
        db.close()
        try:
            copy = in_memory(image.whole(path))
        except OSError as error:
            raise cannot(f"read the conversation database {path}", error) from error
        _refuse_strangers(copy, path)
        _check_pages(copy)
        migrate(copy)
        _check_schema(copy)
        return copy


def in_memory(pages: bytes = b"") -> sqlite3.Connection:
    """A database in memory that begins with these pages."""
    db = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    db.text_factory = decode.text_factory
    if pages:
        db.deserialize(pages)
    return db


def empty() -> sqlite3.Connection:
    """A new database in memory."""
    db = in_memory()
    migrate(db)
    return db


def _open_patiently(path: Path, busy_s: float) -> sqlite3.Connection:
    """`_open`, retried while the file is locked: SQLite does not wait by itself for the switch to WAL."""
    deadline = time.monotonic() + busy_s
    while True:
        try:
            return _open(path, busy_s)
        except sqlite3.OperationalError as error:
            if _code(error) != sqlite3.SQLITE_BUSY or time.monotonic() >= deadline:
                raise
        time.sleep(_RETRY_S)


def _open(path: Path, busy_s: float) -> sqlite3.Connection:
    db = connect(path, "rw", busy_s)
    try:
        _refuse_strangers(db, path)
        _check_pages(db)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        migrate(db)
        _check_schema(db)
    except BaseException:
        db.close()
        raise
    return db


def connect(path: Path, mode: str, busy_s: float) -> sqlite3.Connection:
    """A connection to the file, which is there; `mode` is SQLite's, rw or ro. Nothing is checked."""
    # Never created here: SQLite would give it the umask's mode.
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    db.text_factory = decode.text_factory
    return db


def _check_pages(db: sqlite3.Connection) -> None:
    """Raise for damage that is more than some rows'. A damaged search index is made again.

    Cheap enough for every start: 0.06 s for 103 MiB. Damage is found now, not in the middle of a reply.
    """
    problem = odd_in(db) or problem_in(db)
    if problem is not None and is_of_index(problem):
        rebuild_index(db)
        problem = problem_in(db)
    if problem is not None:
        raise _coded(sqlite3.SQLITE_CORRUPT, problem)


def _check_schema(db: sqlite3.Connection) -> None:
    if (changed := changed_in(db)) is not None:
        raise _coded(sqlite3.SQLITE_CORRUPT, changed)


def _refuse_strangers(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError for a database of a newer swachat or of another program; neither is touched."""
    version = version_of(db)
    if _is_ours(db) and version > len(MIGRATIONS):
        raise StoreError(
            f"The conversation database {path} was written by a newer swachat"
            f" (format {version}; this version knows formats up to {len(MIGRATIONS)}).",
            "Update swachat, or name another folder with SWACHAT_DATA_DIR.",
        )
    # In this order: another process may be creating the tables right now, and marks the file in the same transaction.
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
    if not tables or (_is_ours(db) and 0 < version <= len(MIGRATIONS)):
        return
    if _is_ours(db) or {"session", "message", "piece", "message_fts"} <= tables:
        raise _coded(sqlite3.SQLITE_CORRUPT, "its header is not as swachat made it")
    raise StoreError(
        f"{path} is the database of another program.",
        "Move the file, or name another data folder with SWACHAT_DATA_DIR.",
    )


def _is_ours(db: sqlite3.Connection) -> bool:
    return db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def problem_in(db: sqlite3.Connection) -> str | None:
    """The first damage that SQLite's own check finds, in its words, but for values that do not belong into a row."""
    for (found,) in db.execute("PRAGMA quick_check(100)"):
        lines = str(found).splitlines()
        worse = [line for line in lines if line != "ok" and not _OF_A_ROW.match(line)]
        if worse:
            return worse[0]
    return None


_OF_A_ROW = re.compile(r"(NULL|NUMERIC|TEXT|non-\w+) value in |CHECK constraint failed in ")
"""What is wrong with one value: decoding finds it again, and the rest of the file is as it should be."""


def is_of_index(problem: str) -> bool:
    """Whether `problem` concerns the search index only.

    SQLite checks the index from 3.44 on, and last of all: then the conversations are intact.
    """
    return "fts5" in problem.lower()


def rebuild_index(db: sqlite3.Connection) -> None:
    """Rebuild the search index from the messages."""
    db.execute("INSERT INTO message_fts (message_fts) VALUES ('rebuild')")


@contextlib.contextmanager
def told(path: Path) -> Generator[None]:
    """Turn SQLite's errors into StoreErrors that name the file and say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise explain(error, path) from error
    except (UnicodeDecodeError, MemoryError) as error:
        # SQLite's own words have damaged names in them; or a length in the file is beyond all memory.
        raise explain(_coded(sqlite3.SQLITE_CORRUPT, "a name or a length in it is not one"), path) from error


def explain(error: sqlite3.Error, path: Path) -> StoreError:
    """What happened to the database at `path`, and what the user can do about it."""
    extended = getattr(error, "sqlite_errorcode", None)
    if extended == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return StoreError(f"Another conversation in {path} already has that name.", "Choose another one.")
    if extended == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return StoreError(
            f"The conversation or message is not in {path}: another swachat may have deleted it.",
            "Start a new conversation.",
        )
    match _code(error):
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BusyError(
                f"The conversation database {path} is locked by another program.",
                "Close the program that has it open (another swachat, a database browser, a backup), then try again.",
            )
        case sqlite3.SQLITE_FULL:
            return StoreError(f"The disk is full: {path} cannot be written.", "Free some disk space, then try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return StoreError(
                f"Cannot read or write the conversation database {path}: {_on_a_line(error)}.",
                "Check the permissions and free space of its folder, or name another one with SWACHAT_DATA_DIR.",
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return DamagedError(
                f"The conversation database {path} is damaged: {_on_a_line(error)}.",
                "`swachat sessions repair` sets it aside and keeps what can be read of it.",
            )
        case _:
            return StoreError(
                f"The conversation database {path} failed: {_on_a_line(error)}.",
                "Try again. If it fails again: `swachat sessions repair` makes a new one with what can be read of it.",
            )


def _on_a_line(error: sqlite3.Error) -> str:
    """SQLite's words, which may quote the file."""
    return " ".join(visible(str(error)).split())[:_LONGEST]


def gone(path: Path) -> StoreError:
    """The error for a conversation or message that is not in the database."""
    return explain(_coded(sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, ""), path)


def _coded(code: int, text: str) -> sqlite3.DatabaseError:
    """The error that SQLite would raise with this result code."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = code
    return error


def is_interrupt(error: sqlite3.Error) -> bool:
    """Whether another thread has stopped the statement."""
    return _code(error) == sqlite3.SQLITE_INTERRUPT


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None where the error comes from Python's own module."""
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF
