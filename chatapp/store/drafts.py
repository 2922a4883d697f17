"""Texts that were typed or queued and not sent yet, one for each conversation.

A conversation that has no message yet is not stored. Its draft has a row of its own, which the program that shows it
holds, so that two programs do not take each other's.
"""

import time
from dataclasses import dataclass
from typing import Any

from chatapp.store.database import Database
from chatapp.store.locks import HeldError, Locks
from chatapp.store.names import storable

_RECENT = 50
_SENT_SINCE = """
    SELECT text FROM (SELECT id, text, created_at FROM message WHERE role = 'user' ORDER BY id DESC LIMIT ?)
    WHERE created_at >= ? ORDER BY id DESC
"""


@dataclass(frozen=True)
class UnbegunDraft:
    """The draft of a conversation that has no message yet."""

    id: int
    text: str


class Drafts:
    """The drafts of one database. Every method raises StoreError where it cannot be done."""

    def __init__(self, database: Database, locks: Locks) -> None:
        self._database, self._locks = database, locks

    def read(self, session_id: int) -> str:
        """The draft of a stored conversation, without what was sent from it; "" where there is none."""
        with self._database.read() as db:
            row = db.execute("SELECT text, written_at FROM draft WHERE session_id = ?", (session_id,)).fetchone()
            if row is None:
                return ""
            sent = db.execute(
                "SELECT text FROM message WHERE session_id = ? AND role = 'user' AND created_at >= ? ORDER BY id",
                (session_id, row[1]),
            )
            return _unsent(_plain(row[0]), [_plain(text) for (text,) in sent])

    def write(self, session_id: int, text: str) -> None:
        """Keep this draft of a stored conversation instead of the last one; "" keeps none."""
        with self._locks.writing(session_id), self._database.write() as db:
            if text:
                db.execute(
                    "INSERT INTO draft (session_id, text, written_at) VALUES (?, ?, ?) ON CONFLICT (session_id)"
                    " DO UPDATE SET text = excluded.text, written_at = excluded.written_at",
                    (session_id, storable(text), time.time()),
                )
            else:
                db.execute("DELETE FROM draft WHERE session_id = ?", (session_id,))

    def adopt(self, name: str | None) -> UnbegunDraft | None:
        """The newest draft of a conversation not begun, of this name or of none, that no other program shows.

        It is held until it is discarded.
        """
        with self._database.read() as db:
            rows = db.execute(
                "SELECT id, text, written_at FROM draft WHERE session_id IS NULL AND name IS ? ORDER BY id DESC",
                (name,),
            ).fetchall()
        for id, text, written_at in rows:
            try:
                self._locks.hold(_key(id))
            except HeldError:
                continue
            with self._database.read() as db:
                sent = [_plain(said) for (said,) in db.execute(_SENT_SINCE, (_RECENT, written_at))]
            unsent = _unsent(_plain(text), sent[::-1])
            if unsent:
                return UnbegunDraft(id, unsent)
            self.discard(id)
        return None

    def write_unbegun(self, draft_id: int | None, name: str | None, text: str) -> int:
        """Keep this draft of a conversation not begun; its id, which is new where `draft_id` is None."""
        with self._database.write() as db:
            values = (None if name is None else storable(name), storable(text), time.time())
            if draft_id is not None:
                changed = db.execute(
                    "UPDATE draft SET name = ?, text = ?, written_at = ? WHERE id = ?", (*values, draft_id)
                )
                if changed.rowcount:
                    return draft_id
            made = db.execute("INSERT INTO draft (name, text, written_at) VALUES (?, ?, ?)", values).lastrowid
            assert made is not None  # it is None before the first INSERT only
            self._locks.hold(_key(made))
            return made

    def discard(self, draft_id: int) -> None:
        """Delete the draft of a conversation not begun: it was emptied, or the conversation has begun."""
        with self._database.write() as db:
            db.execute("DELETE FROM draft WHERE id = ? AND session_id IS NULL", (draft_id,))
        self._locks.release(_key(draft_id))

    def leave(self, draft_id: int) -> None:
        """Keep the draft for the next one that adopts it."""
        self._locks.release(_key(draft_id))


def _key(draft_id: int) -> str:
    return f"draft-{draft_id}"


def _plain(value: Any) -> str:
    """A text as it is stored, also where the row is damaged."""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _unsent(text: str, sent: list[str]) -> str:
    """`text` without the messages that it begins with and that were sent since: the program was killed in between."""
    for said in sent:
        if text == said:
            return ""
        text = text.removeprefix(f"{said}\n")
    return text
