"""Which turns of a stored conversation are cached again, and as which tokens."""

from collections.abc import Collection, Sequence

from chatapp.cache.ledger import MOST_GONE, CellKind, EvictedTurn
from chatapp.engine.kv.prefill_plan import Piece, count
from chatapp.engine.session.template import ChatTemplate
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.protocol.values import Message


def answered(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns that have both a message and a reply, if only an empty one, in order: the model has seen no others."""
    asked = {message.turn: message for message in messages if message.role == "user"}
    replies = {message.turn: message for message in messages if message.role == "assistant"}
    return tuple(said for turn in sorted(asked.keys() & replies.keys()) for said in (asked[turn], replies[turn]))


def latest_turns(
    template: ChatTemplate, transcript: BranchTranscript, closing: tuple[int, ...], budget: int, pinned: Collection[int]
) -> tuple[list[Piece], list[EvictedTurn]]:
    """Pieces of the pinned turns and of the latest ones that fit in `budget` tokens with them, in order, and the latest
    turns that are omitted.

    `closing` is the markup after a reply. The last turn is kept however long it is: it streams through the window as
    it did when it was new; the tokens that close its reply are decoded with the next message.
    """
    kept: list[list[Piece]] = []
    gone: list[EvictedTurn] = []
    pinned_pieces = {
        turn: pieces_of(template, transcript, turn, closing, kind=CellKind.PINNED)
        for turn in transcript.turns
        if turn in pinned
    }
    budget -= sum(count(pieces) for pieces in pinned_pieces.values())
    for turn in reversed(transcript.turns):
        if turn in pinned_pieces:
            kept.append(pinned_pieces[turn])
        elif len(gone) < MOST_GONE:
            pieces = pieces_of(template, transcript, turn, closing)
            size = count(pieces)
            if not gone and (turn == transcript.last or size <= budget):
                kept.append(pieces)
                budget -= size
            else:
                gone.append(EvictedTurn(turn, size))
    return [piece for pieces in reversed(kept) for piece in pieces], gone[::-1]


def pieces_of(
    template: ChatTemplate,
    transcript: BranchTranscript,
    turn: int,
    closing: tuple[int, ...],
    *,
    kind: CellKind | None = None,
) -> list[Piece]:
    """An answered turn as it is cached; the last one without the tokens that close its reply."""
    user, reply = transcript.of_turn(turn)
    prompt = template.prompt(transcript.system, transcript.before(turn), user.text, first=turn == transcript.first)
    answer = prompt.reply_opening + template.reply(reply.text) + (closing if turn != transcript.last else ())
    return [
        Piece(turn, "user", prompt.user, prompt.user_opening, kind=kind),
        Piece(turn, "assistant", answer, len(prompt.reply_opening), kind=kind),
    ]
