"""The conversations, as a tree of messages in one SQLite file."""

import json
import sqlite3
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from chatapp.errors import BusyError, DamagedError, StoreError
from chatapp.store import decode, export, queries
from chatapp.store.connection import empty, gone, open_database, open_to_read
from chatapp.store.copying import copy_messages
from chatapp.store.database import Database
from chatapp.store.drafts import Drafts
from chatapp.store.locks import Locks
from chatapp.store.names import clean_name, hint, id_of, storable
from chatapp.store.rows import FinalState, Grown, Hit, Place, Role, SessionInfo, State, StoredMessage
from chatapp.store.salvage import repair, salvaged
from chatapp.store.schema import NEXT_WRITTEN
from chatapp.store.search import Search, hits


class Store:
    """All conversations of one user. A method that fails raises StoreError and changes nothing.

    Threads: any thread may call any method; calls wait for one another. An event loop calls none: most take
    0.02 to 1 ms, at worst 30 ms (SQLite moving its log into the file), but where another process has locked the file
    every call waits up to `busy_s`. `StoreThread` is for that. What reads much (`open`, `path` of a long conversation,
    20,000 messages: 0.4 s, `tree`, `forks`, `search`, `export`) belongs in a worker thread of its own.

    Processes: several may use one file at once. Each write is one short transaction, and what another process wrote
    is seen by the next read. A conversation has one writer: each write holds its lock, and raises HeldError where
    another store does. Who reads a branch in order to go on with it holds `locks` from before the reading.

    Loss: what a method has written survives a kill of this process. After a power cut the last moments may be missing
    (synchronous NORMAL), but the file is intact.
    """

    def __init__(self, database: Database, notices: tuple[str, ...] = ()) -> None:
        """For `open` and `open_to_read` only."""
        self.notices = notices
        """What the person should be told once about the opening: what could not be read."""
        self._database = database
        self.locks = Locks(database.path)
        """The conversations that this store alone may write to."""
        self.drafts = Drafts(database, self.locks)
        """What was typed and not sent."""
        self._growing: dict[int, int] = {}
        """The replies that this store is writing, and the number of each one's next piece."""

    @classmethod
    def open(cls, path: Path, *, busy_s: float = 3.0) -> Self:
        """Open or create the database at `path`; `busy_s` is how long any call waits for another process's lock.

        The file is created with mode 0600, a missing folder with 0700. Replies that a crash cut off are put into the
        search index. Raises StoreError: BusyError where another program holds a lock, DamagedError where more than
        some rows are damaged; then nothing is changed.
        """
        store = cls(Database(path, open_database(path, busy_s)))
        try:
            store._join_leftovers()
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    def open_to_read(cls, path: Path, *, busy_s: float = 3.0) -> Self:
        """Open the database to read what can be read, where `open` cannot: on a full disk or a read-only one, or
        damaged. The file is not changed then, and writing fails or is forgotten; `notices` says so. Raises StoreError.
        """
        if not path.exists():
            return cls(Database(path, empty(), in_place=False))
        try:
            return cls(Database(path, open_database(path, busy_s)))
        except BusyError:
            raise
        except DamagedError as error:
            whole = salvaged(path)
            notice = f"{error.what} What can be read of it is shown. {error.todo}"
        except StoreError:
            try:
                whole, notice = open_to_read(path, busy_s), ""
            except DamagedError as error:
                whole = salvaged(path)
                notice = f"{error.what} What can be read of it is shown."
        return cls(Database(path, whole, in_place=False), (notice,) if notice else ())

    @staticmethod
    def repair(path: Path, *, busy_s: float = 3.0) -> Path | None:
        """Set a damaged file aside and put what can be read of it into a new one; the damaged file's new path.

        None, with nothing done, where it is not damaged. Raises StoreError, and then the file is where it was.
        """
        return repair(path, busy_s)

    def close(self) -> None:
        """Close the file, and release what it holds; closing again does nothing."""
        self._database.close()
        self.locks.release_all()

    def wait_for_locks(self, busy_s: float) -> None:
        """Let each call wait up to `busy_s` seconds for another process's lock from now on."""
        self._database.wait_for_locks(busy_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ----------------------------------------------------------------------- conversations

    def new_session(
        self,
        *,
        model: str,
        system: str | None,
        settings: Mapping[str, Any],
        name: str | None = None,
        hold: bool = False,
    ) -> SessionInfo:
        """Start a conversation. `settings` is stored as JSON; a `name` must be unused and not a number.

        With `hold` it is held from before another program can see it.
        """
        now = time.time()
        values = (
            None if name is None else clean_name(name), storable(model), None if system is None else storable(system),
            json.dumps(dict(settings)), now, now,
        )  # fmt: skip
        with self._database.write() as db:
            made = db.execute(
                "INSERT INTO session (name, model, system, settings, created_at, updated_at, written)"
                f" VALUES (?, ?, ?, ?, ?, ?, {NEXT_WRITTEN})",
                values,
            ).lastrowid
            assert made is not None  # it is None before the first INSERT only
            if hold:
                self.locks.hold(made)
            return queries.session(db, "s.id = ?", made)[0]

    def branch_off(self, session_id: int) -> SessionInfo:
        """Copy the branch that is shown into a new conversation without a name, and hold that."""
        info, branch = self.session(session_id), self.path(session_id)
        made = self.new_session(model=info.model, system=info.system, settings=info.settings, hold=True)
        with self._database.write() as db:
            self._move_head(db, made.id, copy_messages(db, made.id, branch), time.time())
        return self.session(made.id)

    def session(self, key: int | str) -> SessionInfo:
        """The conversation with that id or name (a string of digits is an id: no name is one)."""
        with self._database.read() as db:
            if isinstance(key, str) and (found := queries.session(db, "s.name = ?", storable(key.strip()))):
                return found[0]
            number = id_of(key)
            if number is not None and (found := queries.session(db, "s.id = ?", number)):
                return found[0]
            names = [decode.plain(name) for (name,) in db.execute("SELECT name FROM session WHERE name IS NOT NULL")]
        raise StoreError(f'There is no conversation "{key}" in {self._database.path}.', hint(str(key), names))

    def find_session(self, name: str) -> SessionInfo | None:
        """The conversation of that name, if there is one."""
        with self._database.read() as db:
            found = queries.session(db, "s.name = ?", storable(name.strip()))
        return found[0] if found else None

    def last_session(self) -> SessionInfo | None:
        """The most recently written conversation; one without any message does not count."""
        with self._database.read() as db:
            found = queries.session(db, "EXISTS (SELECT 1 FROM message m WHERE m.session_id = s.id)", order="LIMIT 1")
        return found[0] if found else None

    def sessions(self, limit: int | None = None) -> list[SessionInfo]:
        """All conversations, or the `limit` most recently written ones; the most recent first."""
        with self._database.read() as db:
            return queries.session(db, "1", order=f"LIMIT {-1 if limit is None else limit:d}")

    def rename(self, session_id: int, name: str | None) -> None:
        """Rename a conversation, or remove its name."""
        wanted = None if name is None else clean_name(name)
        with self.locks.writing(session_id), self._database.write() as db:
            self._database.must_be_there(db.execute("UPDATE session SET name = ? WHERE id = ?", (wanted, session_id)))

    def configure(self, session_id: int, *, model: str, system: str | None, settings: Mapping[str, Any]) -> None:
        """Change what the conversation runs with: its model, system prompt and settings."""
        values = (storable(model), None if system is None else storable(system), json.dumps(dict(settings)), session_id)
        with self.locks.writing(session_id), self._database.write() as db:
            changed = db.execute("UPDATE session SET model = ?, system = ?, settings = ? WHERE id = ?", values)
            self._database.must_be_there(changed)

    def delete_session(self, session_id: int) -> None:
        """Delete a conversation with all of its messages, and wipe their text from the file.

        Wiping merges the search index (0.5 s for 103 MiB) and empties the write-ahead log; where another process is
        reading just then, the log is emptied when that one ends.
        """
        with self.locks.writing(session_id), self._database.write() as db:
            self._database.must_be_there(db.execute("DELETE FROM session WHERE id = ?", (session_id,)))
            db.execute("INSERT INTO message_fts (message_fts) VALUES ('optimize')")
        with self._database.read() as db:
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    # ----------------------------------------------------------------------- messages

    def add_message(
        self,
        session_id: int,
        *,
        parent_id: int | None,
        turn: int,
        role: Role,
        text: str = "",
        state: State = "done",
    ) -> int:
        """Add a message below `parent_id` (None: at the beginning) and make it the head; its id.

        `turn` counts from 1. With state "growing", `append_text` adds to it until `finish_message`.
        """
        now = time.time()
        with self.locks.writing(session_id), self._database.write() as db:
            made = db.execute(
                "INSERT INTO message (session_id, parent_id, turn, role, text, state, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (session_id, parent_id, turn, role, storable(text), state, now),
            ).lastrowid
            assert made is not None  # it is None before the first INSERT only
            self._move_head(db, session_id, made, now)
        if state == "growing":
            self._growing[made] = 0
        return made

    def append_text(self, message_id: int, delta: str, reasoning: str = "") -> None:
        """Add `delta` to a growing reply, and `reasoning` to what the model thought before it; after an error none of
        it is stored, and the call may be repeated.

        Costs about 0.02 ms, however long the reply is. Four calls a second are plenty: collect the text in
        between.
        """
        with self._database.read() as db:
            seq = self._seq(message_id)
            db.execute(
                "INSERT INTO piece (message_id, seq, text, reasoning) VALUES (?, ?, ?, ?)",
                (message_id, seq, storable(delta), storable(reasoning)),
            )
            self._growing[message_id] = seq + 1

    def finish_message(
        self,
        message_id: int,
        *,
        state: FinalState,
        stats: Mapping[str, Any] | None = None,
        tokens: bytes = b"",
        model: str = "",
    ) -> None:
        """End a growing reply: `state` says how, `stats` (stored as JSON) what it cost. It is searched from now on.

        `tokens` and `model` are as in StoredMessage.
        """
        kept = None if stats is None else json.dumps(dict(stats))
        with self._database.write() as db:
            self._seq(message_id)
            self._join(db, message_id)
            db.execute(
                "UPDATE message SET state = ?, stats = ?, tokens = ?, model = ? WHERE id = ?",
                (state, kept, tokens or None, storable(model) or None, message_id),
            )
            db.execute(
                f"UPDATE session SET updated_at = ?, written = {NEXT_WRITTEN}"
                " WHERE id = (SELECT session_id FROM message WHERE id = ?)",
                (time.time(), message_id),
            )
        del self._growing[message_id]

    def set_head(self, session_id: int, message_id: int | None) -> None:
        """Switch to the branch that ends at `message_id`; None is the beginning. No message is deleted by this."""
        with self.locks.writing(session_id), self._database.write() as db:
            self._move_head(db, session_id, message_id, time.time())

    def set_pinned(self, message_id: int, pinned: bool) -> None:
        """Pin or unpin the turn that this user message begins."""
        with self.locks.writing(self._session_of(message_id)), self._database.write() as db:
            changed = db.execute("UPDATE message SET pinned = ? WHERE id = ?", (int(pinned), message_id))
            self._database.must_be_there(changed)

    def path(self, session_id: int) -> list[StoredMessage]:
        """The current branch, from its first message to its head."""
        with self._database.read() as db:
            found = queries.session(db, "s.id = ?", session_id)
            if not found:
                raise gone(self._database.path)
            return self._messages(db, queries.PATH, {"session": session_id, "head": found[0].head_id})

    def tree(self, session_id: int) -> list[StoredMessage]:
        """Every message of all branches, each after its parent."""
        with self._database.read() as db:
            self._must_exist(db, session_id)
            return self._messages(db, "m.session_id = :session", {"session": session_id})

    def beside(self, session_id: int, place: Place) -> tuple[int, ...]:
        """The ids of the messages in one place of the tree, the oldest first; empty replies are omitted."""
        where = "m.session_id = ? AND m.parent_id IS ? AND m.role = ?"
        with self._database.read() as db:
            return queries.forks(db, where, session_id, *place).get(place, ())

    def forks(self, session_id: int) -> dict[Place, tuple[int, ...]]:
        """`beside` for every place of a conversation that holds more than one message."""
        with self._database.read() as db:
            found = queries.forks(db, "m.session_id = ?", session_id)
        return {place: ids for place, ids in found.items() if len(ids) > 1}

    def recent_prompts(self, limit: int) -> list[str]:
        """The user's last `limit` messages of all conversations, the newest last, for the prompt history."""
        with self._database.read() as db:
            found = db.execute("SELECT text FROM message WHERE role = 'user' ORDER BY id DESC LIMIT ?", (limit,))
            return [decode.plain(text) for (text,) in found][::-1]

    def search(self, session_id: int | None, text: str, limit: int = 50) -> list[Hit]:
        """Finished messages (of one conversation, or of all) that contain every word of `text`, newest first.

        The last word may be a prefix. No character of `text` is query syntax; case and accents are ignored.
        """
        with self._database.read() as db:
            return [hit for some in hits(db, session_id, storable(text), limit) for hit in some]

    def searching(self) -> Search:
        """A search that hands over hits as they are found, and waits for nothing. Raises StoreError."""
        return Search(self._database.path, self.search)

    def export(self, session_id: int, *, reasoning: bool = False) -> dict[str, Any]:
        """The whole conversation, all branches, as `docs/reference/sessions.md` describes it, fit for json.dumps."""
        with self._database.read():
            return export.to_dict(self.session(session_id), self.tree(session_id), reasoning=reasoning)

    def export_markdown(self, session_id: int, *, reasoning: bool = False) -> str:
        """The current branch, as readable Markdown; with `reasoning`, what the model thought before each answer too."""
        with self._database.read():
            return export.to_markdown(self.session(session_id), self.path(session_id), reasoning=reasoning)

    # ----------------------------------------------------------------------- inside

    def _move_head(self, db: sqlite3.Connection, session_id: int, message_id: int | None, now: float) -> None:
        moved = f"UPDATE session SET head_id = ?, updated_at = ?, written = {NEXT_WRITTEN} WHERE id = ?"
        self._database.must_be_there(db.execute(moved, (message_id, now, session_id)))

    def _must_exist(self, db: sqlite3.Connection, session_id: int) -> None:
        if db.execute("SELECT 1 FROM session WHERE id = ?", (session_id,)).fetchone() is None:
            raise gone(self._database.path)

    def _session_of(self, message_id: int) -> int:
        with self._database.read() as db:
            row = db.execute("SELECT session_id FROM message WHERE id = ?", (message_id,)).fetchone()
        if row is None:
            raise gone(self._database.path)
        return int(row[0])

    def _seq(self, message_id: int) -> int:
        """The number of the next piece of a growing reply."""
        seq = self._growing.get(message_id)
        if seq is None:
            raise StoreError(
                f"Message {message_id} is not a reply being written here: nothing can be added to it.",
                "Add a new message.",
            )
        return seq

    def _messages(self, db: sqlite3.Connection, where: str, values: Mapping[str, int | None]) -> list[StoredMessage]:
        """Rows of `message m`, ordered by id, with the text and the state that a reader should see."""
        rows = db.execute(f"SELECT {queries.MESSAGE} FROM message m WHERE {where} ORDER BY m.id", values)
        return decode.messages(
            (row, queries.pieces(db, row[0]) if row[6] == "growing" else Grown(), row[0] in self._growing)
            for row in rows
        )

    def _join(self, db: sqlite3.Connection, message_id: int) -> None:
        """Move a reply's pieces into its row, and so into the search index."""
        row = db.execute("SELECT text, reasoning FROM message WHERE id = ?", (message_id,)).fetchone()
        if row is None:
            raise gone(self._database.path)
        text, reasoning = (
            decode.plain(had) + more for had, more in zip(row, queries.pieces(db, message_id), strict=True)
        )
        db.execute("UPDATE message SET text = ?, reasoning = ? WHERE id = ?", (text, reasoning, message_id))
        db.execute("DELETE FROM piece WHERE message_id = ?", (message_id,))

    def _join_leftovers(self) -> None:
        """Join the pieces that remain after a crash.

        They may belong to a reply that another process is writing right now. That does no harm: its next pieces come
        after the joined text, and its end joins them too. The state is not changed, for the same reason.
        """
        with self._database.read() as db:
            left = [int(found) for (found,) in db.execute("SELECT DISTINCT message_id FROM piece")]
        for message_id in left:
            with self._database.write() as db:
                if db.execute("SELECT 1 FROM message WHERE id = ?", (message_id,)).fetchone():
                    self._join(db, message_id)
