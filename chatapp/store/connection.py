"""Opening the database, with one-line errors where it cannot be opened, read or written."""

import contextlib
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path

from chatapp.errors import StoreError
from chatapp.store.files import make_private, one_opener, set_aside
from chatapp.store.schema import APPLICATION_ID, MIGRATIONS, migrate, version_of

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_RETRY_S = 0.02


def open_database(path: Path, busy_s: float) -> tuple[sqlite3.Connection, str | None]:
    """An open, checked and migrated database, and a notice for the user when a damaged one was moved aside.

    The connection is in autocommit mode and may be used from any thread, one at a time. It waits up to `busy_s`
    seconds for another process's lock. Raises StoreError.
    """
    with one_opener(path, busy_s), told(path):
        make_private(path)
        try:
            return _open_patiently(path, busy_s), None
        except sqlite3.DatabaseError as error:
            if _code(error) not in _DAMAGED:
                raise
            reason = str(error)
        aside = set_aside(path, busy_s)
        db = _open_patiently(path, busy_s)
    return db, (
        f"The conversation database {path} is damaged ({reason}). It is kept as {aside.name} in the same folder, and"
        " a new, empty one was created. The `.recover` command of the `sqlite3` program may recover its text."
    )


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
    # Never created here: SQLite would give it the umask's mode.
    uri = f"{path.absolute().as_uri()}?mode=rw"
    db = sqlite3.connect(uri, uri=True, timeout=busy_s, isolation_level=None, check_same_thread=False)
    try:
        _refuse_strangers(db, path)
        # Cheap enough for every start: 0.06 s for 103 MiB. Damage is found now, not in the middle of a reply.
        problem = problem_in(db)
        if problem is not None and is_of_index(problem):
            rebuild_index(db)
            problem = problem_in(db)
        if problem is not None:
            raise _coded(sqlite3.SQLITE_CORRUPT, problem)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        db.execute("PRAGMA foreign_keys = ON")
        db.execute("PRAGMA secure_delete = ON")
        migrate(db)
    except BaseException:
        db.close()
        raise
    return db


def _refuse_strangers(db: sqlite3.Connection, path: Path) -> None:
    """Raise StoreError for a database of a newer swachat or of another program; neither is touched."""
    if _is_ours(db) and (version := version_of(db)) > len(MIGRATIONS):
        raise StoreError(
            f"The conversation database {path} was written by a newer swachat"
            f" (format {version}; this version knows formats up to {len(MIGRATIONS)}).",
            "Update swachat, or name another folder with SWACHAT_DATA_DIR.",
        )
    # In this order: another process may be creating the tables right now, and marks the file in the same transaction.
    if db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] and not _is_ours(db):
        raise StoreError(
            f"{path} is the database of another program.",
            "Move the file, or name another data folder with SWACHAT_DATA_DIR.",
        )


def _is_ours(db: sqlite3.Connection) -> bool:
    return db.execute("PRAGMA application_id").fetchone()[0] == APPLICATION_ID


def problem_in(db: sqlite3.Connection) -> str | None:
    """The first damage that SQLite's own check finds, in its words."""
    found = str(db.execute("PRAGMA quick_check(1)").fetchone()[0])
    return None if found == "ok" else found.splitlines()[0]


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
            return StoreError(
                f"The conversation database {path} is locked by another program.",
                "Close the program that has it open (another swachat, a database browser, a backup), then try again.",
            )
        case sqlite3.SQLITE_FULL:
            return StoreError(f"The disk is full: {path} cannot be written.", "Free some disk space, then try again.")
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM | sqlite3.SQLITE_IOERR:
            return StoreError(
                f"Cannot read or write the conversation database {path}: {error}.",
                "Check the permissions and free space of its folder, or name another one with SWACHAT_DATA_DIR.",
            )
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return StoreError(
                f"The conversation database {path} is damaged: {error}.",
                "Restart swachat: it moves a damaged file aside and starts a new one. Failing that, move it yourself.",
            )
        case _:
            return StoreError(f"The conversation database {path} failed: {error}.")


def gone(path: Path) -> StoreError:
    """The error for a conversation or message that is not in the database."""
    return explain(_coded(sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY, ""), path)


def _coded(code: int, text: str) -> sqlite3.DatabaseError:
    """The error that SQLite would raise with this result code."""
    error = sqlite3.DatabaseError(text)
    error.sqlite_errorcode = code
    return error


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None where the error comes from Python's own module."""
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF
