"""The tables, and the steps that bring an older database to them.

`PRAGMA user_version` counts the steps that a file has taken. A step that has been released is never edited: a change
is a new step at the end.

Three choices that are not obvious:

- A message's parent has a smaller id than the message (a CHECK), so the tree can have no circle, and ordering a
  branch by id is ordering it from root to leaf. AUTOINCREMENT never reuses an id: one that is still held for a
  deleted message finds nothing, instead of somebody else's text.
- A growing reply is kept in `piece`, one row an append, and joined into `message.text` when it ends. Appending to
  `message.text` rewrites the whole text each time: measured over 10,000 appends of 38 characters, 7.1 s against 0.13 s.
- The search index holds exactly `message.text`, so a growing reply enters it once, when it ends.
"""

import sqlite3

APPLICATION_ID = 0x73776163
"""Marks the file as swachat's ("swac" in ASCII), so that another program's database is never written into."""

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
)


def version_of(db: sqlite3.Connection) -> int:
    """How many steps this file has taken; 0 for an empty one."""
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def migrate(db: sqlite3.Connection, steps: tuple[Step, ...] = MIGRATIONS) -> None:
    """Take the steps that are missing, all in one transaction: a failure leaves the file as it was.

    `db` is in autocommit mode. Two processes may come here at once: the second one waits for the first, looks at the
    version again, and finds nothing left to do.
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
