"""Stored conversations as a list to choose from."""

import datetime
from collections.abc import Iterator, Sequence

from chatapp.errors import SwachatError
from chatapp.models import name_of
from chatapp.store import SessionInfo, Store
from chatapp.ui.dialogs.hit_search import HitSearch
from chatapp.ui.services import Choice

LISTED = 200


class SessionSearch(HitSearch):
    """Conversations as choices: the latest ones, or those that contain the typed text. See `SlowSearch`."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._latest: Sequence[SessionInfo] | None = None

    def find(self, text: str) -> Iterator[Sequence[Choice]]:
        """See SlowSearch."""
        found: dict[int, Choice] = {}
        try:
            for session in self._sessions():
                if text.strip().casefold() in f"{session.name or ''} {session.title}".casefold():
                    found[session.id] = _choice(session)
            yield list(found.values())
            if not text.strip():
                return
            for hits in self.hits(None, text):
                for hit in hits:
                    if hit.session_id not in found:
                        title = hit.session_name or self._store.session(hit.session_id).title
                        found[hit.session_id] = Choice(str(hit.session_id), title, hit.snippet)
                yield list(found.values())[:LISTED]
        except SwachatError as error:
            yield [*found.values(), Choice("", str(error), offered=False)]

    def _sessions(self) -> Sequence[SessionInfo]:
        """Read once: what is typed does not change them."""
        if self._latest is None:
            self._latest = [session for session in self._store.sessions(LISTED) if session.n_messages]
        return self._latest


def _choice(session: SessionInfo) -> Choice:
    at = session.updated_at
    when = "?" if at is None else datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    title = session.name or session.title or f"Conversation {session.id}"
    damage = " · damaged" if session.damage else ""
    note = f"{when} · {session.n_messages:,} messages · {name_of(session.model)}{damage}"
    return Choice(str(session.id), title, note)
