"""The evicted turns, as a list to choose from."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from chatapp.errors import SwachatError
from chatapp.presentation.format import plural
from chatapp.store import Store
from chatapp.ui.dialogs.hit_search import HitSearch
from chatapp.ui.services import Choice

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat

LISTED = 200
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


class EvictedSearch(HitSearch):
    """The turns that contain the typed text, or all evicted ones, newest first; those in the window cannot be
    selected. See `SlowSearch`.
    """

    def __init__(self, store: Store, session_id: int, evicted: EvictedTurns) -> None:
        super().__init__(store)
        self._session_id, self._evicted = session_id, evicted

    def find(self, text: str) -> Iterator[Sequence[Choice]]:
        """See SlowSearch."""
        evicted = self._evicted
        if not text.strip():
            gone = sorted(evicted.gone, reverse=True)[:LISTED]
            yield [_choice(evicted, turn, f"You: {evicted.asked[turn]}") for turn in gone]
            return
        found: dict[int, Choice] = {}
        try:
            for hits in self.hits(self._session_id, text):
                for hit in hits:
                    if (turn := evicted.turn_of.get(hit.message_id)) is not None and turn not in found:
                        who = "You" if hit.role == "user" else "Model"
                        found[turn] = _choice(evicted, turn, f"{who}: {hit.snippet}")
                yield sorted(found.values(), key=lambda choice: not choice.offered)[:LISTED]
        except SwachatError as error:
            yield [*found.values(), Choice("", str(error), offered=False)]


def _choice(evicted: EvictedTurns, turn: int, note: str) -> Choice:
    if turn not in evicted.gone:
        return Choice(str(turn), f"turn {turn} · already in the window", " ".join(note.split()), offered=False)
    n = evicted.tokens.get(turn)
    title = f"turn {turn}" if n is None else f"turn {turn} · {plural(n, 'token')}"
    return Choice(str(turn), title, " ".join(note.split()))
