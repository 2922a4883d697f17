"""One open database: reads and transactions that may come from any thread, with helpful errors."""

import contextlib
import sqlite3
import threading
from collections.abc import Generator
from pathlib import Path

from chatapp.errors import StoreError
from chatapp.store.connection import gone, is_of_index, problem_in, rebuild_index, told
from chatapp.store.files import companion, which


class Database:
    """A connection with a lock around it; failures inside `read` and `write` are raised as StoreError."""

    def __init__(self, path: Path, db: sqlite3.Connection, *, in_place: bool = True) -> None:
        """`db` is an open connection to `path`, or with `in_place` False to what could be read of it."""
        self.path = path
        self._db = db
        self._lock = threading.RLock()
        self._files: dict[Path, tuple[int, int] | None] = {}
        """The files that are open, by device and number: under their names there may be others by now."""
        if in_place:
            self._files = {file: which(file) for file in (path, companion(path, "-wal"))}

    def close(self) -> None:
        """Close the connection; closing again does nothing."""
        with self._lock:
            self._db.close()

    @contextlib.contextmanager
    def read(self) -> Generator[sqlite3.Connection]:
        """The connection for reading, or for one statement that writes by itself; no other thread uses it meanwhile."""
        with self._lock, told(self.path):
            self._must_be_the_same()
            try:
                yield self._db
            except sqlite3.DatabaseError as error:
                self._mend_index(error)
                raise

    @contextlib.contextmanager
    def write(self) -> Generator[sqlite3.Connection]:
        """One transaction: everything in the block is written, or nothing."""
        with self.read() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:  # SQLite rolls back by itself after some errors
                    db.execute("ROLLBACK")
                raise

    def must_be_there(self, cursor: sqlite3.Cursor) -> None:
        """Refuse an UPDATE or DELETE that found nothing to change."""
        if cursor.rowcount == 0:
            raise gone(self.path)

    def wait_for_locks(self, busy_s: float) -> None:
        """Wait up to `busy_s` seconds for another process's lock from now on."""
        with self.read() as db:
            db.execute(f"PRAGMA busy_timeout = {round(busy_s * 1000)}")

    def _must_be_the_same(self) -> None:
        """Refuse to write where nobody would ever read it: a file that was removed lives on while it is open."""
        for file, opened in self._files.items():
            now = which(file)
            if opened is None:
                self._files[file] = now  # the log, which is made with the first write
            elif now != opened:
                what = "removed" if now is None else "replaced by another file"
                raise StoreError(
                    f"{file} was {what} while this program had the conversation database open:"
                    " nothing can be stored in it any more.",
                    "Put the file back, or restart swachat, which begins with what is there then.",
                )

    def _mend_index(self, error: sqlite3.DatabaseError) -> None:
        """Where only the search index is damaged, rebuild it from the messages and say so; else do nothing.

        It is the index if SQLite's check finds nothing else: before 3.44 that check does not cover it. A violated
        constraint without an extended code is the index's too, because those of the tables have one.
        """
        code = getattr(error, "sqlite_errorcode", 0)
        if code & 0xFF != sqlite3.SQLITE_CORRUPT and code != sqlite3.SQLITE_CONSTRAINT:
            return
        try:
            problem = problem_in(self._db)
            if problem is not None and not is_of_index(problem):
                return
            rebuild_index(self._db)
        except sqlite3.Error:
            return
        raise StoreError(
            f"The search index of {self.path} was damaged and has been rebuilt.",
            "No message is lost; please try again.",
        ) from error
