"""Which turns of a stored conversation go back into the cache, and as which tokens."""

from collections.abc import Sequence

from chatapp.cache.ledger import Gone
from chatapp.engine.protocol import Message
from chatapp.engine.resident import Piece
from chatapp.engine.template import ChatTemplate

MAX_GHOSTS = 64
"""Turns that were left out and are reported with their size; of older ones only their number is known."""


def answered(messages: Sequence[Message]) -> list[Message]:
    """The turns that have both a message and a reply with text in it: the model has seen no others."""
    roles: dict[int, set[str]] = {}
    for message in messages:
        if message.role == "user" or message.text:
            roles.setdefault(message.turn, set()).add(message.role)
    return [message for message in messages if roles.get(message.turn) == {"user", "assistant"}]


def latest_turns(
    template: ChatTemplate, system: str | None, messages: Sequence[Message], closing: tuple[int, ...], budget: int
) -> tuple[list[Piece], list[Gone]]:
    """Pieces of the latest turns that fit in `budget` tokens, and what is left out (the latest MAX_GHOSTS of it).

    `messages` are answered turns, `closing` is the markup behind a reply. The last turn is kept however long it is: it
    streams through the window as it did when it was new; what closes its reply goes in with the next message.
    """
    kept: list[Piece] = []
    gone: list[Gone] = []
    by_turn: dict[int, list[Message]] = {}
    for message in messages:
        by_turn.setdefault(message.turn, []).append(message)
    turns = list(by_turn)
    for index, turn in reversed(list(enumerate(turns))):
        if len(gone) == MAX_GHOSTS:
            break
        earlier = by_turn[turns[index - 1]] if index else []
        pieces = _pieces(template, system, earlier, by_turn[turn], closing if turn != turns[-1] else ())
        size = sum(len(piece.tokens) for piece in pieces)
        if not gone and (not kept or size <= budget):
            kept = pieces + kept
            budget -= size
        else:
            gone.append(Gone(turn, size))
    return kept, gone[::-1]


def _pieces(
    template: ChatTemplate,
    system: str | None,
    earlier: Sequence[Message],
    messages: Sequence[Message],
    closing: tuple[int, ...],
) -> list[Piece]:
    """A stored turn as it stands in the cache."""
    user, reply = messages
    prompt = template.prompt(system, earlier, user.text)
    answer = prompt.reply_opening + template.reply(reply.text) + closing
    return [
        Piece(user.turn, "user", prompt.user, prompt.user_opening),
        Piece(user.turn, "assistant", answer, len(prompt.reply_opening)),
    ]
