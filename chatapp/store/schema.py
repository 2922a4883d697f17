"""The tables, and the migrations that bring an older database up to date.

`PRAGMA user_version` counts the migrations applied to a file. A released migration is never edited: a change is a new
one at the end.

Choices that are not obvious:

- A message's parent has a smaller id than the message (a CHECK), so the tree can have no cycle, and ordering a
  branch by id orders it from root to leaf. AUTOINCREMENT never reuses an id: a stale id of a deleted message finds
  nothing, instead of another message's text.
- A growing reply is kept in `piece`, one row per append, and joined into `message.text` when it ends. Appending to
  `message.text` rewrites the whole text each time: measured over 10,000 appends of 38 characters, 7.1 s against 0.13 s.
- A draft without a session is that of a conversation that has no message yet, and is stored with its first one.
- Which conversation was written last is counted in `session.written`: a clock may go back.
- The search index holds exactly `message.text`, so a growing reply is indexed once, when it ends, and what the model
  thought before it is not.
- `message.tokens` are numbers in the vocabulary of the model whose digest is `message.model`, and mean nothing in
  another's: the text is what the conversation is, they only spare it from being tokenized differently.
"""

import sqlite3
from functools import cache

APPLICATION_ID = 0x73776163
"""Marks the file as swachat's ("swac" in ASCII), so that another program's database is never written to."""

Step = tuple[str, ...]
"""The statements of one migration, in order."""

MIGRATIONS: tuple[Step, ...] = (
    (
        """
        CREATE TABLE session (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT UNIQUE,
            model TEXT NOT NULL,
            system TEXT,
            settings TEXT NOT NULL,
            head_id INTEGER,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            FOREIGN KEY (id, head_id) REFERENCES message (session_id, id)
        )
        """,
        """
        CREATE TABLE message (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session_id INTEGER NOT NULL REFERENCES session (id) ON DELETE CASCADE,
            parent_id INTEGER CHECK (parent_id < id),
            turn INTEGER NOT NULL CHECK (turn >= 1),
            role TEXT NOT NULL CHECK (role IN ('user', 'assistant')),
            text TEXT NOT NULL,
            state TEXT NOT NULL CHECK (state IN ('growing', 'done', 'stopped', 'failed')),
            stats TEXT,
            created_at REAL NOT NULL,
            UNIQUE (session_id, id),
            FOREIGN KEY (session_id, parent_id) REFERENCES message (session_id, id)
        )
        """,
        "CREATE INDEX message_by_parent ON message (session_id, parent_id)",
        """
        CREATE TABLE piece (
            message_id INTEGER NOT NULL REFERENCES message (id) ON DELETE CASCADE,
            seq INTEGER NOT NULL,
            text TEXT NOT NULL,
            PRIMARY KEY (message_id, seq)
        ) WITHOUT ROWID
        """,
        """
        CREATE VIRTUAL TABLE message_fts USING fts5 (
            text, content = 'message', content_rowid = 'id', tokenize = 'unicode61 remove_diacritics 2'
        )
        """,
        """
        CREATE TRIGGER message_added AFTER INSERT ON message BEGIN
            INSERT INTO message_fts (rowid, text) VALUES (new.id, new.text);
        END
        """,
        """
        CREATE TRIGGER message_deleted AFTER DELETE ON message BEGIN
            INSERT INTO message_fts (message_fts, rowid, text) VALUES ('delete', old.id, old.text);
        END
        """,
        """
        CREATE TRIGGER message_changed AFTER UPDATE OF text ON message WHEN old.text IS NOT new.text BEGIN
            INSERT INTO message_fts (message_fts, rowid, text) VALUES ('delete', old.id, old.text);
            INSERT INTO message_fts (rowid, text) VALUES (new.id, new.text);
        END
        """,
    ),
    ("ALTER TABLE message ADD COLUMN pinned INTEGER NOT NULL DEFAULT 0 CHECK (pinned IN (0, 1))",),
    (
        "ALTER TABLE session ADD COLUMN written INTEGER NOT NULL DEFAULT 0",
        "UPDATE session SET written = coalesce((SELECT max(m.id) FROM message m WHERE m.session_id = session.id), 0)",
        "CREATE INDEX session_by_written ON session (written)",
    ),
    (
        """
        CREATE TABLE draft (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            session_id INTEGER UNIQUE REFERENCES session (id) ON DELETE CASCADE,
            name TEXT,
            text TEXT NOT NULL,
            written_at REAL NOT NULL
        )
        """,
    ),
    (
        "ALTER TABLE message ADD COLUMN tokens BLOB",
        "ALTER TABLE message ADD COLUMN model TEXT",
        "ALTER TABLE message ADD COLUMN reasoning TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE piece ADD COLUMN reasoning TEXT NOT NULL DEFAULT ''",
    ),
)

NEXT_WRITTEN = "(SELECT coalesce(max(written), 0) + 1 FROM session)"
"""The value of `session.written` of the conversation that is written now."""


def version_of(db: sqlite3.Connection) -> int:
    """How many migrations were applied to this file; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, steps: tuple[Step, ...] = MIGRATIONS) -> None:
    """Apply the missing migrations in one transaction: after a failure the file is unchanged.

    `db` is in autocommit mode. Two processes may get here at once: the second one waits for the first, checks the
    version again, and finds nothing more to do.
    """
    if version_of(db) >= len(steps):
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        for step in steps[version_of(db) :]:
            for statement in step:
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(steps)}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def changed_in(db: sqlite3.Connection) -> str | None:
    """The first table, index or trigger that is not as this version makes it, in words; None where all are."""
    found = _objects(db)
    for key, sql in _made().items():
        if key not in found:
            return f"the {key[0]} {key[1]} is missing"
        if found[key] != sql:
            return f"the {key[0]} {key[1]} is not as swachat made it"
    return None


def odd_in(db: sqlite3.Connection) -> str | None:
    """A trigger or view that no version makes, in words: it would act on what is written. Other tables are harmless."""
    odd = next((kind for kind, _ in _objects(db).keys() - _made().keys() if kind in ("trigger", "view")), None)
    return None if odd is None else f"there is a {odd} in it that swachat did not make"


def _objects(db: sqlite3.Connection) -> dict[tuple[str, str], str]:
    return {(str(kind), str(name)): " ".join(str(sql).split()) for kind, name, sql in db.execute(_OBJECTS)}


_OBJECTS = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT GLOB 'message_fts_*'"


@cache
def _made() -> dict[tuple[str, str], str]:
    """What a new database has, by kind and name."""
    db = sqlite3.connect(":memory:", isolation_level=None)
    try:
        migrate(db)
        return _objects(db)
    finally:
        db.close()
