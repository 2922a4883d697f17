"""The evicted turns, as a list to choose from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.errors import SwachatError
from chatapp.presentation.format import plural
from chatapp.store import Hit, Store
from chatapp.ui.services import Choice

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat

LISTED = 200
SEARCHED = 1000
"""Search hits that are considered, those on other branches included."""
EXCERPT = 200


@dataclass(frozen=True)
class EvictedTurns:
    """The answered turns of the branch that is shown, and which were evicted; a copy, which a thread may search."""

    asked: Mapping[int, str]
    """The beginning of the person's message, by turn."""
    turn_of: Mapping[int, int]
    """The turn of each message, by its id in the store."""
    gone: frozenset[int]
    """The turns that were evicted."""
    tokens: Mapping[int, int]
    """How many tokens of a turn were evicted, as far as that is known."""


def evicted_turns_of(chat: "Chat") -> EvictedTurns:
    """The turns of this chat, as they are now."""
    answered = chat.conversation.answered
    messages = [said for said in chat.conversation.messages if said.turn in answered]
    ghosts = chat.snapshot.ghosts if chat.snapshot is not None else []
    return EvictedTurns(
        asked={said.turn: said.text[:EXCERPT] for said in messages if said.role == "user"},
        turn_of={said.id: said.turn for said in messages if said.id is not None},
        gone=frozenset(answered - chat.inside) if chat.snapshot is not None else frozenset(),
        tokens={ghost.turn: ghost.tokens for ghost in ghosts if ghost.whole},
    )


def search_evicted(store: Store, session_id: int, evicted: EvictedTurns, text: str) -> Sequence[Choice]:
    """The turns that contain this text, or all evicted ones, newest first; those in the window cannot be selected."""
    if not text.strip():
        return [
            _choice(evicted, turn, f"You: {evicted.asked[turn]}")
            for turn in sorted(evicted.gone, reverse=True)[:LISTED]
        ]
    try:
        hits = store.search(session_id, text, SEARCHED)
    except SwachatError as error:
        return [Choice("", str(error), offered=False)]
    best: dict[int, Hit] = {}
    for hit in hits:
        if (turn := evicted.turn_of.get(hit.message_id)) is not None:
            best.setdefault(turn, hit)
    found = [
        _choice(evicted, turn, f"{'You' if hit.role == 'user' else 'Model'}: {hit.snippet}")
        for turn, hit in best.items()
    ]
    return sorted(found, key=lambda choice: not choice.offered)[:LISTED]


def _choice(evicted: EvictedTurns, turn: int, note: str) -> Choice:
    if turn not in evicted.gone:
        return Choice(str(turn), f"turn {turn} · already in the window", " ".join(note.split()), offered=False)
    n = evicted.tokens.get(turn)
    title = f"turn {turn}" if n is None else f"turn {turn} · {plural(n, 'token')}"
    return Choice(str(turn), title, " ".join(note.split()))
