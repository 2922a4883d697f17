"""Which turns of a stored conversation are cached again, and as which tokens."""

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from chatapp.cache.ledger import MOST_GONE, CellKind, EvictedTurn
from chatapp.engine.kv.prefill_plan import Piece, count
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.template.chat_template import ChatTemplate, PastReply, RenderedPrompt
from chatapp.protocol.values import Message


def answered(messages: Sequence[Message]) -> tuple[Message, ...]:
    """The turns that have both a message and a reply, if only an empty one, in order: the model has seen no others."""
    asked = {message.turn: message for message in messages if message.role == "user"}
    replies = {message.turn: message for message in messages if message.role == "assistant"}
    return tuple(said for turn in sorted(asked.keys() & replies.keys()) for said in (asked[turn], replies[turn]))


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
        n = 0 if piece.sink else max(0, min(excess - n_cut, len(piece.tokens) - piece.opening - last))
        n_cut += n
        tokens = piece.tokens[: piece.opening] + piece.tokens[piece.opening + n :]
        kept.append(replace(piece, tokens=tokens, lost=n))
    return kept, n_cut


class TurnTokens:
    """The turns of conversations as pieces for the cache of one model."""

    def __init__(self, template: ChatTemplate, model: str, n_vocab: int) -> None:
        """`model` is its digest: only what this very model wrote has its tokens; it knows `n_vocab` tokens."""
        self._template = template
        self._model, self._n_vocab = model, n_vocab

    def past(self, message: Message) -> PastReply:
        """A reply, with the tokens that it had when this model wrote it, where they are known."""
        if message.model != self._model or len(message.tokens) % 4:
            return PastReply(message.text)
        tokens = np.frombuffer(message.tokens, np.dtype("<u4"))
        if tokens.size and int(tokens.max()) >= self._n_vocab:
            return PastReply(message.text)
        return PastReply(message.text, tuple(tokens.tolist()))

    def reply(self, turn: int, text: str, tokens: Sequence[int]) -> Message:
        """What this model wrote, for the transcript and the store."""
        packed = np.asarray(tokens, np.dtype("<u4")).tobytes()
        return Message(turn=turn, role="assistant", text=text, tokens=packed, model=self._model if packed else "")

    def closing(self, transcript: BranchTranscript) -> str:
        """The markup that closes the last reply; empty where there is none."""
        if not transcript.messages:
            return ""
        reply = self.past(transcript.messages[-1])
        return self._template.closing(transcript.system, reply, first=transcript.n_turns == 1)

    def pending(self, transcript: BranchTranscript, tail: str | None) -> Piece:
        """The markup that closes the last reply, where it is not cached yet, behind a cache that ends with `tail`."""
        tokens = self._template.closing_tokens(transcript.system, transcript.pending, tail)
        return Piece(transcript.last or 0, "assistant", tokens)

    def of_turn(
        self,
        transcript: BranchTranscript,
        turn: int,
        *,
        first: bool = False,
        closed: bool | None = None,
        kind: CellKind | None = None,
    ) -> list[Piece]:
        """An answered turn as it is cached, behind the system prompt if `first`, and if `closed` with the markup behind
        its reply: unless told, as each one but the last is.
        """
        user, reply = transcript.of_turn(turn)
        if closed is None:
            closed = turn != transcript.last
        found = self._template.turn(transcript.system, user.text, self.past(reply), first=first, closed=closed)
        return [
            Piece(turn, "user", found.user, found.user_opening, kind=kind),
            *_head_end(found.head_end),
            Piece(turn, "assistant", found.reply, found.reply_opening, kind=kind),
        ]

    def latest(
        self, transcript: BranchTranscript, budget: int, pinned: Collection[int], *, may_cut: bool
    ) -> tuple[list[Piece], list[EvictedTurn]]:
        """The system prompt, the pinned turns and the latest ones that fit in `budget` tokens with them, in order, and
        the latest turns that are omitted.

        The last turn is kept however long it is; where it `may_cut` it, only the newest tokens that fit, and it is
        among the omitted ones with the others. The markup that closes its reply is decoded with the next message.
        """
        kept: list[list[Piece]] = []
        cut: list[EvictedTurn] = []
        gone: list[EvictedTurn] = []
        first = False

        def pieces_of(turn: int, kind: CellKind | None = None) -> list[Piece]:
            return self.of_turn(transcript, turn, first=turn == transcript.first, kind=kind)

        pinned_pieces = {turn: pieces_of(turn, CellKind.PINNED) for turn in transcript.turns if turn in pinned}
        budget -= sum(count(pieces) for pieces in pinned_pieces.values())
        for turn in reversed(transcript.turns):
            if turn in pinned_pieces:
                kept.append(pinned_pieces[turn])
            elif len(gone) < MOST_GONE:
                pieces = pieces_of(turn)
                if turn == transcript.last and may_cut:
                    pieces, n_cut = newest(pieces, budget)
                    cut = [EvictedTurn(turn, n_cut)] if n_cut else []
                size = count(pieces)
                if gone or (turn != transcript.last and size > budget):
                    gone.append(EvictedTurn(turn, size))
                    continue
                kept.append(pieces)
                budget -= size
            else:
                continue
            first |= turn == transcript.first
        head = self._template.preamble(transcript.system, closed=not first)
        pieces = [Piece(0, "system", head, sink=True), *(piece for pieces in reversed(kept) for piece in pieces)]
        return pieces, [*gone[::-1], *cut]


def prompt_pieces(prompt: RenderedPrompt, turn: int, before: int) -> list[Piece]:
    """A message on its way into the cache, as turn `turn` behind the turn `before`."""
    return [
        Piece(before, "assistant", prompt.closing),
        Piece(0, "system", prompt.preamble, sink=True),
        Piece(turn, "user", prompt.user, prompt.user_opening),
        *_head_end(prompt.head_end),
        Piece(turn, "assistant", prompt.reply_opening, len(prompt.reply_opening)),
    ]


def _head_end(tokens: tuple[int, ...]) -> list[Piece]:
    """The end of the message that the system prompt is folded into: it stays when the message is evicted."""
    return [Piece(0, "system", tokens, sink=True)] if tokens else []
