"""How new tokens enter the cache chunk by chunk, what is evicted for them, and what is processed again.

All of it on the ledger alone: `KvCache` takes the same steps on llama.cpp too, and `forecast` takes them without it.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from chatapp.cache import policy as policies
from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.policy import EvictionPlan, Remove
from chatapp.engine.interrupts import CancelledError

LONG_FORECAST_TOK: Final = 1 << 14
"""Up to here a forecast takes no noticeable time."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one message, on their way into the cache."""

    turn: int
    role: str
    tokens: tuple[int, ...]
    opening: int = 0
    sink: bool = False
    kind: CellKind | None = None
    """None: the kind of the turn's other tokens."""
    lost: int = 0
    """Tokens of the message that are omitted after its opening."""


@dataclass(frozen=True, slots=True)
class Prefill:
    """The pieces that enter the cache together, and the offsets in them before which checkpoints are taken, where
    checkpoints are needed.
    """

    pieces: Sequence[Piece]
    marks: Sequence[int] = ()
    spared: int = 0
    """Tokens for which cells are freed although they do not enter: those that leave with their turn."""

    @property
    def n_tokens(self) -> int:
        """Tokens of all the pieces."""
        return count(self.pieces)


@dataclass(frozen=True, slots=True)
class ChunkPart:
    """The tokens of a piece that are in one chunk, from its token `at` on."""

    piece: Piece
    tokens: tuple[int, ...]
    at: int


@dataclass(frozen=True, slots=True)
class Chunk:
    """Tokens that are decoded together, after the first `start` of the pieces. `turn` needs cells for them; others are
    evicted before its own tokens.
    """

    start: int
    parts: tuple[ChunkPart, ...]
    turn: int

    @property
    def tokens(self) -> list[int]:
        """All of them."""
        return [token for part in self.parts for token in part.tokens]

    def cut(self, most: int) -> "tuple[Chunk, Chunk | None]":
        """The first `most` of its tokens, and the rest; None where there is none."""
        first, rest, left = list[ChunkPart](), list[ChunkPart](), most
        for part in self.parts:
            n = min(left, len(part.tokens))
            left -= n
            if n:
                first.append(replace(part, tokens=part.tokens[:n]))
            if n < len(part.tokens):
                rest.append(replace(part, tokens=part.tokens[n:], at=part.at + n))
        return replace(self, parts=tuple(first)), Chunk(self.start + most, tuple(rest), self.turn) if rest else None


def count(pieces: Sequence[Piece]) -> int:
    """Tokens of all the pieces."""
    return sum(len(piece.tokens) for piece in pieces)


def chunks(pieces: Sequence[Piece], most: int, boundaries: Collection[int] = ()) -> Iterator[Chunk]:
    """The pieces in chunks of at most `most` tokens; at each offset of `boundaries` one ends.

    >>> [len(chunk.tokens) for chunk in chunks([Piece(1, "user", (1, 2, 3)), Piece(1, "assistant", (4, 5))], 4, [1])]
    [1, 4]
    """
    start, parts = 0, list[ChunkPart]()
    before = 0

    def turn() -> int:  # the end of the system prompt may come inside a turn
        return next((part.piece.turn for part in parts if part.piece.turn), before)

    for piece in pieces:
        at = 0
        while at < len(piece.tokens):
            end = min((stop for stop in boundaries if start < stop < start + most), default=start + most)
            count = end - start - sum(len(part.tokens) for part in parts)
            parts.append(ChunkPart(piece, piece.tokens[at : at + count], at))
            at += count
            if at <= len(piece.tokens):
                yield Chunk(start, tuple(parts), turn())
                start, before, parts = end, turn(), []
    if parts:
        yield Chunk(start, tuple(parts), turn())


@dataclass(frozen=True, slots=True)
class CacheRules:
    """The settings of one cache, which never change. Sizes in tokens; see chatapp.cache.policy."""

    policy: str
    n_sink: int
    """The fewest first tokens that are sinks."""
    share: float
    most_moves: int | None
    chunk: int
    n_ctx: int
    n_swa: int
    """Width of the sliding window, 0 where no layer has one."""
    n_ctx_swa: int
    """Cells of the sliding layers."""
    max_pos: int
    """The highest position plus one: what the model was trained for, or the window where that is more."""

    @classmethod
    def of(
        cls,
        *,
        policy: str,
        n_sink: int,
        share: float,
        chunk: int,
        n_ctx: int,
        n_swa: int | None,
        max_pos: int,
        n_ctx_swa: int | None = None,
        most_moves: int | None = None,
    ) -> "CacheRules":
        """`n_swa` is None where no layer slides, `n_ctx_swa` where the sliding layers have as many cells as the
        others; `max_pos` is what the model was trained for.
        """
        return cls(
            policy=policy,
            n_sink=n_sink if policy != "window" else 0,
            share=share,
            most_moves=most_moves,
            chunk=chunk,
            n_ctx=n_ctx,
            n_swa=n_swa or 0,
            n_ctx_swa=n_ctx_swa or n_ctx,
            max_pos=max(max_pos, n_ctx),
        )

    def make_room(self, ledger: Ledger, need: int, turn: int | None, whole_from: int) -> EvictionPlan:
        """The policy's plan for `need` more tokens; the sliding layers certainly hold every token from `whole_from` on.

        As many tokens as the sliding window sees stay behind the evicted ones. Where that leaves too few to evict at
        once, it gives way, unless only that saves a rebuild: else each new token would evict one more.
        """
        careful = self._room(ledger, need, turn, self.n_swa)
        if not self.n_swa or not careful.steps:
            return careful
        plenty = self._room(ledger, need, turn, 0)
        if plenty.tokens <= careful.tokens:
            return careful
        saves = self.needs_rebuild(ledger, plenty, whole_from) and not self.needs_rebuild(ledger, careful, whole_from)
        return careful if saves else plenty

    def _room(self, ledger: Ledger, need: int, turn: int | None, keep_recent: int) -> EvictionPlan:
        return policies.make_room(
            ledger,
            policy=self.policy,
            need=need,
            n_ctx=self.n_ctx,
            share=self.share,
            turn=turn,
            keep_recent=keep_recent,
            max_pos=self.max_pos,
            most_moves=self.most_moves,
        )

    def need(self, ledger: Ledger, chunk: Chunk, prefill: Prefill) -> tuple[int, int]:
        """How many cells are freed before this chunk of the prefill, and the turn that needs them.

        Before the first one they are freed for all pieces at once, or as many as can be; what is longer than that
        streams through them, chunk by chunk.
        """
        if chunk.start:
            return len(chunk.tokens), chunk.turn
        turn, kept = prefill.pieces[-1].turn, 0
        if self.policy != "window":
            begun = [run for run in ledger.of_turn(turn) if run.evictable]  # its openings stay, and its newest token
            kept = ledger.n_sink + ledger.n_pinned + sum(run.opening for run in begun) + bool(begun)
        wanted = min(prefill.n_tokens + prefill.spared, self.n_ctx - kept)
        return max(len(chunk.tokens), wanted), turn

    def without_evicted(self, ledger: Ledger, prefill: Prefill, whole_from: int) -> Prefill:
        """The prefill without what its room would evict at once: the markup that closes a reply is not decoded where
        the whole turn leaves.
        """
        start = next(chunks(prefill.pieces, self.chunk), None)
        if start is None:
            return prefill
        plan = self.make_room(ledger, *self.need(ledger, start, prefill), whole_from)
        first, *rest = prefill.pieces
        if first.turn not in plan.turns or not rest:
            return prefill
        spared = len(first.tokens)
        return Prefill(rest, [mark - spared for mark in prefill.marks], spared)

    def enter(self, ledger: Ledger, part: ChunkPart) -> Ledger:
        """The ledger with this part appended."""
        piece, opening = part.piece, max(0, part.piece.opening - part.at)
        if piece.sink and self.policy != "window":
            return ledger.append(piece.turn, piece.role, part.tokens, kind=CellKind.SINK)
        after = ledger.append_sinks_first(
            piece.turn, piece.role, part.tokens, n_sink=self.n_sink, kind=piece.kind, opening=opening
        )
        if part.at or not piece.lost:
            return after
        return replace(after, runs=(*after.runs[:-1], replace(after.runs[-1], lost=piece.lost)))

    def needs_rebuild(self, ledger: Ledger, plan: EvictionPlan, whole_from: int) -> bool:
        """True where the plan takes a rebuild: the policy wants it, or the sliding layers have lost tokens that their
        window would reach; they certainly hold every token from position `whole_from` on.

        An eviction brings older tokens into the sliding window. A pruned cache no longer has them, and llama.cpp
        does not say so: it attends to what is there.
        """
        if plan.reprocesses or not self.n_swa:
            return plan.reprocesses
        after = policies.apply(ledger, plan)
        seen = self.seen_from(after)
        remaining = sum(max(0, run.end - max(run.pos, seen)) for run in after.runs)
        lowest = ledger.next_pos
        removals = EvictionPlan(tuple(step for step in plan.steps if isinstance(step, Remove)))
        for run in reversed(policies.apply(ledger, removals).runs):
            if taken := min(remaining, len(run.tokens)):
                lowest, remaining = run.end - taken, remaining - taken
        return lowest < whole_from

    def seen_from(self, ledger: Ledger) -> int:
        """The first position in the sliding window of the next token, which counts that token too."""
        return ledger.next_pos - self.n_swa + 1


@dataclass(frozen=True, slots=True)
class PrefillForecast:
    """What a prefill would do. `full` says why not all of the tokens would fit."""

    tokens: int = 0
    """Tokens of the last prefill."""
    leaving: tuple[int, ...] = ()
    """Turns that would be evicted whole, in that order."""
    partial: int | None = None
    """The turn that would lose only some of its tokens."""
    full: str = ""
    reprocessed: int = 0
    """Tokens that a rebuild would process again."""


@dataclass
class _Simulation:
    """The cache during the forecast. `floor` and `low` are as in SlidingFloor: the first position that the sliding
    layers certainly hold, and their lowest position as long as tokens are only appended.
    """

    rules: CacheRules
    ledger: Ledger
    floor: int | None
    low: int
    cancelled: Callable[[], bool]
    plans: list[EvictionPlan] = field(default_factory=list[EvictionPlan])
    reprocessed: int = 0
    full: str = ""

    @property
    def whole_from(self) -> int:
        return self.low if self.floor is None else self.floor

    def prefill(self, prefill: Prefill, boundaries: Collection[int]) -> None:
        rules = self.rules
        for chunk in chunks(prefill.pieces, rules.chunk, boundaries):
            if chunk.start > LONG_FORECAST_TOK and self.cancelled():
                raise CancelledError
            need, turn = rules.need(self.ledger, chunk, prefill)
            plan = rules.make_room(self.ledger, need, turn, self.whole_from)
            if plan.full:
                self.full = plan.full
                return
            if plan.steps:
                self.make_room(plan)
            self.enter(chunk)

    def make_room(self, plan: EvictionPlan) -> None:
        rules = self.rules
        after = policies.apply(self.ledger, plan)
        if rules.needs_rebuild(self.ledger, plan, self.whole_from):
            after = after.compact()
            self.reprocessed += after.n_tokens
            self.floor, self.low = None, max(0, after.n_tokens - rules.n_ctx_swa)
        else:
            self.floor = max(0, rules.seen_from(after)) if after.runs else None
        self.ledger = after
        self.plans.append(plan)

    def enter(self, chunk: Chunk) -> None:
        if self.floor is not None:
            self.floor = max(self.floor, self.rules.seen_from(self.ledger))
        for part in chunk.parts:
            self.ledger = self.rules.enter(self.ledger, part)
        self.low = max(self.low, self.ledger.next_pos - self.rules.n_ctx_swa)


def forecast(
    rules: CacheRules,
    ledger: Ledger,
    prefills: Sequence[Prefill],
    *,
    checkpoints: bool,
    floor: int | None,
    low: int,
    cancelled: Callable[[], bool] = lambda: False,
) -> PrefillForecast:
    """What these prefills would do now, one after the other, simulated step by step.

    From `floor` on the sliding layers certainly hold every token; None: from their lowest position `low` on. Chunks end
    at the marks where there are `checkpoints`. Raises CancelledError where there are many and `cancelled` says so.
    """
    simulation = _Simulation(rules, ledger, floor, low, cancelled)
    tokens = prefills[-1].n_tokens
    for prefill in prefills:
        prefill = rules.without_evicted(simulation.ledger, prefill, simulation.whole_from)
        tokens = prefill.n_tokens
        simulation.prefill(prefill, prefill.marks if checkpoints else ())
        if simulation.full:
            break
    leaving = tuple(dict.fromkeys(turn for plan in simulation.plans for turn in plan.turns))
    partial = [plan.partial_turn for plan in simulation.plans if plan.partial_turn not in (None, *leaving)]
    return PrefillForecast(
        tokens=tokens,
        leaving=leaving,
        partial=partial[-1] if partial else None,
        full=simulation.full,
        reprocessed=simulation.reprocessed,
    )
