"""Which turns of a stored conversation are cached again, and as which tokens."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from chatapp.cache.ledger import MOST_GONE, CellKind, EvictedTurn
from chatapp.engine.kv.prefill_plan import Piece, count
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.protocol.values import Message


def answered(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns that have both a message and a reply, if only an empty one, in order: the model has seen no others."""
    asked = {message.turn: message for message in messages if message.role == "user"}
    replies = {message.turn: message for message in messages if message.role == "assistant"}
    return tuple(said for turn in sorted(asked.keys() & replies.keys()) for said in (asked[turn], replies[turn]))


def latest_turns(
    template: ChatTemplate,
    transcript: BranchTranscript,
    closing: tuple[int, ...],
    budget: int,
    pinned: Collection[int],
    *,
    may_cut: bool,
) -> tuple[list[Piece], list[EvictedTurn]]:
    """Pieces of the pinned turns and of the latest ones that fit in `budget` tokens with them, in order, and the latest
    turns that are omitted.

    `closing` is the markup after a reply. The last turn is kept however long it is; where it `may_cut` it, only the
    newest tokens that fit, and it is among the omitted ones with the others. The tokens that close its reply are
    decoded with the next message.
    """
    kept: list[list[Piece]] = []
    cut: list[EvictedTurn] = []
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
            if turn == transcript.last and may_cut:
                pieces, n_cut = newest(pieces, budget)
                cut = [EvictedTurn(turn, n_cut)] if n_cut else []
            size = count(pieces)
            if not gone and (turn == transcript.last or size <= budget):
                kept.append(pieces)
                budget -= size
            else:
                gone.append(EvictedTurn(turn, size))
    return [piece for pieces in reversed(kept) for piece in pieces], [*gone[::-1], *cut]


def newest(pieces: Sequence[Piece], most: int) -> tuple[list[Piece], int]:
    """The newest tokens of a turn, at most `most` where its openings and its last token leave that choice, and how many
    tokens are omitted.

    >>> kept, n_cut = newest([Piece(1, "user", (7, 1, 2, 3), 1), Piece(1, "assistant", (8, 4, 5), 1)], 4)
    >>> [piece.tokens for piece in kept], n_cut
    ([(7,), (8, 4, 5)], 3)
    """
    excess, n_cut = count(pieces) - most, 0
    kept: list[Piece] = []
    for piece in pieces:
        last = 1 if piece is pieces[-1] else 0
        n = max(0, min(excess - n_cut, len(piece.tokens) - piece.opening - last))
        n_cut += n
        tokens = piece.tokens[: piece.opening] + piece.tokens[piece.opening + n :]
        kept.append(replace(piece, tokens=tokens, lost=n))
    return kept, n_cut


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
