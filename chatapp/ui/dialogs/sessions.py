"""Stored conversations as a list to choose from."""

import datetime
from collections.abc import Sequence

from chatapp.errors import SwachatError
from chatapp.models import name_of
from chatapp.store import SessionInfo, Store
from chatapp.ui.services import Choice

LISTED = 200


def search_sessions(store: Store, text: str) -> Sequence[Choice]:
    """Conversations as choices: the latest ones, or those that contain the typed text."""
    try:
        if not text.strip():
            return [_choice(session) for session in store.sessions(LISTED) if session.n_messages]
        found: dict[int, Choice] = {}
        for session in store.sessions(LISTED):
            if session.n_messages and text.casefold() in f"{session.name or ''} {session.title}".casefold():
                found[session.id] = _choice(session)
        for hit in store.search(None, text, LISTED):
            if hit.session_id not in found:
                title = hit.session_name or store.session(hit.session_id).title
                found[hit.session_id] = Choice(str(hit.session_id), title, hit.snippet)
        return list(found.values())
    except SwachatError as error:
        return [Choice("", str(error), offered=False)]


def _choice(session: SessionInfo) -> Choice:
    at = session.updated_at
    when = "?" if at is None else datetime.datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M")
    title = session.name or session.title or f"Conversation {session.id}"
    damage = " · damaged" if session.damage else ""
    note = f"{when} · {session.n_messages:,} messages · {name_of(session.model)}{damage}"
    return Choice(str(session.id), title, note)
