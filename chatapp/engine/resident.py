"""The cache and its ledger, changed together: every step is applied to llama.cpp and to the ledger, and compared."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatapp.cache import policy as policies
from chatapp.cache.ledger import Kind, Ledger
from chatapp.cache.policy import Plan, Remove, Renumber, Reprocess
from chatapp.engine.llama import Context
from chatapp.engine.protocol import Evicted
from chatapp.errors import EngineError


class WindowFullError(Exception):
    """The policy cannot free the cells that are needed; the message says why."""


class CancelledError(Exception):
    """The person asked to stop."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one message, on their way into the cache."""

    turn: int
    role: str
    tokens: tuple[int, ...]
    opening: int = 0
    sink: bool = False


@dataclass(frozen=True, slots=True)
class _Unreported:
    """An eviction whose full cost is known after the next decode."""

    plan: Plan
    turn: int | None
    why: str
    ms: float
    reprocessed: int


class Resident:
    """What is resident in one llama.cpp context, under one policy.

    `policy`, `n_sink` (the least number of first tokens to keep) and `share` are those of chatapp.cache.policy;
    `max_pos` is the number of positions that the model was trained for, `can_cut` is False for a recurrent state.
    """

    def __init__(
        self,
        context: Context,
        *,
        policy: str,
        n_sink: int,
        share: float,
        chunk: int,
        n_swa: int | None,
        max_pos: int,
        can_cut: bool,
        on_evicted: Callable[[Evicted], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self.context = context
        self.policy = policy
        self.n_sink = n_sink if policy != "window" else 0
        self.ledger = Ledger()
        self.shifts = 0
        self.processed = 0
        self._share = share
        self._chunk = chunk
        self._n_swa = n_swa or 0
        self._max_pos = max(max_pos, context.n_ctx)
        self._can_cut = can_cut
        self._on_evicted = on_evicted
        self._cancelled = cancelled
        self._free = context.n_ctx
        self._unreported: _Unreported | None = None

    # ------------------------------------------------------------------ growing

    def prefill(
        self, pieces: Sequence[Piece], *, logits: str = "last", after: Callable[[int], None] | None = None
    ) -> None:
        """Run the pieces through the model in chunks, making room before each one.

        `after(done)` is called behind each chunk. Raises WindowFullError or CancelledError between two chunks, with the
        ledger equal to the cache.
        """
        flat = [token for piece in pieces for token in piece.tokens]
        total, done = len(flat), 0
        queue = [(piece, 0) for piece in pieces if piece.tokens]
        while done < total:
            if self._cancelled():
                raise CancelledError
            count = min(self._chunk, total - done)
            self.make_room(count, queue[0][0].turn, "the prompt needs room")
            last = done + count == total
            self._decode(flat[done : done + count], "all" if logits == "all" else "last" if last else "none")
            left = count
            while left:
                piece, at = queue.pop(0)
                taken = piece.tokens[at : at + left]
                self._enter(piece, taken, at)
                left -= len(taken)
                if at + len(taken) < len(piece.tokens):
                    queue.insert(0, (piece, at + len(taken)))
            done += count
            self.processed += count
            if after:
                after(done)

    def _enter(self, piece: Piece, tokens: tuple[int, ...], at: int) -> None:
        opening = max(0, piece.opening - at)
        if piece.sink and self.policy != "window":
            self.ledger = self.ledger.append(piece.turn, piece.role, tokens, kind=Kind.SINK)
        else:
            self.ledger = self.ledger.append_sinks_first(
                piece.turn, piece.role, tokens, n_sink=self.n_sink, opening=opening
            )

    def extend(self, turn: int, token: int) -> None:
        """Run one token of the reply through the model."""
        if not self._free or self.ledger.next_pos >= self._max_pos:
            self.make_room(1, turn, "the reply needs room")
        self._decode([token], "last")
        self.ledger = self.ledger.append_sinks_first(turn, "assistant", (token,), n_sink=self.n_sink)

    def _decode(self, tokens: Sequence[int], logits: str) -> None:
        began = time.perf_counter()
        status = self.context.decode(tokens, self.ledger.next_pos, logits=logits)
        if status:
            raise EngineError(f"llama.cpp could not process {len(tokens)} tokens (status {status}).", "See the log.")
        self._free -= len(tokens)
        if self._unreported:
            self._report(self._unreported, (time.perf_counter() - began) * 1000)
            self._unreported = None

    # ------------------------------------------------------------------ shrinking

    def foresee(self, need: int, turn: int | None) -> Plan:
        """What `make_room` would do."""
        return policies.make_room(
            self.ledger,
            policy=self.policy,
            need=need,
            n_ctx=self.context.n_ctx,
            share=self._share,
            turn=turn,
            keep_recent=self._n_swa,
            max_pos=self._max_pos,
        )

    def make_room(self, need: int, turn: int | None, why: str) -> None:
        """Free `need` cells by the policy. WindowFullError where it cannot."""
        plan = self.foresee(need, turn)
        if plan.full:
            raise WindowFullError(plan.full)
        if not plan.steps:
            return
        began = time.perf_counter()
        processed = self.processed
        ledger = policies.apply(self.ledger, plan)
        if plan.reprocesses:
            self.rebuild(ledger)
        else:
            self._apply(plan)
            self.ledger = ledger
            self._free = self.context.n_ctx - ledger.n_tokens
        self.shifts += plan.renumbers
        ms = (time.perf_counter() - began) * 1000
        self._unreported = _Unreported(plan, turn, why, ms, self.processed - processed)

    def _apply(self, plan: Plan) -> None:
        for step in plan.steps:
            match step:
                case Remove(p0, p1):
                    if not self.context.remove(p0, p1):
                        raise EngineError(f"llama.cpp refused to drop positions {p0} to {p1}.", "Use --policy rebuild.")
                case Renumber(p0, delta):
                    if p0 < self.ledger.next_pos:
                        self.context.renumber(p0, delta)
                case Reprocess():
                    raise AssertionError("a plan that reprocesses is a rebuild")

    def _report(self, done: _Unreported, next_decode_ms: float) -> None:
        plan = done.plan
        self._on_evicted(
            Evicted(
                at_s=time.time(),
                turn=done.turn,
                policy=self.policy,
                tokens=plan.tokens,
                turns=list(plan.turns),
                partial_turn=plan.partial_turn,
                removed=list(plan.removed),
                renumbered=plan.renumbers,
                reprocessed_tokens=done.reprocessed,
                ms=done.ms,
                next_decode_ms=next_decode_ms,
                why=done.why,
            )
        )

    def can_cut(self, p0: int) -> bool:
        """True where dropping everything from position p0 on leaves a cache that is whole.

        In a pruned SWA cache the cells that the window of position p0 needs may be gone, and llama.cpp says nothing.
        A recurrent state cannot be cut at all.
        """
        if not self._can_cut:
            return p0 >= self.ledger.next_pos
        positions = self.context.positions
        if not self._n_swa or positions is None or p0 >= self.ledger.next_pos:
            return True
        return positions[0] <= max(0, p0 - self._n_swa)

    def cut(self, p0: int) -> int:
        """Drop everything from position p0 on; how many tokens that were. Ask `can_cut` first."""
        before = self.ledger.n_tokens
        if not self.context.remove(p0, -1):
            raise EngineError(f"llama.cpp refused to drop what follows position {p0}.", "Start a new conversation.")
        self.ledger = self.ledger.truncate(p0)
        self._free = self.context.n_ctx - self.ledger.n_tokens
        return before - self.ledger.n_tokens

    def clear(self) -> None:
        """Forget everything."""
        self.context.clear()
        self.ledger = Ledger()
        self._free = self.context.n_ctx

    def rebuild(self, ledger: Ledger, after: Callable[[int], None] | None = None) -> None:
        """Make the cache hold `ledger`, its gaps closed, by running its tokens through the model again."""
        self.context.clear()
        ledger = ledger.compact()
        tokens = ledger.tokens
        self.ledger = ledger.truncate(0)
        for at in range(0, len(tokens), self._chunk):
            chunk = tokens[at : at + self._chunk]
            last = at + len(chunk) == len(tokens)
            status = self.context.decode(chunk, at, logits="last" if last else "none")
            if status:
                raise EngineError(f"llama.cpp could not rebuild the cache (status {status}).", "See the log.")
            self.processed += len(chunk)
            self.ledger = ledger.truncate(at + len(chunk))
            if after:
                after(at + len(chunk))
        self._free = self.context.n_ctx - len(tokens)

    def restore(self, ledger: Ledger, state: bytes) -> bool:
        """Put a saved cache back; False, and an empty cache, where llama.cpp does not take it as the ledger has it."""
        self.clear()
        if not self.context.restore(state):
            self.clear()
            return False
        self.ledger = ledger
        self._free = self.context.n_ctx - ledger.n_tokens
        if self.mismatch() is not None:
            self.clear()
            return False
        return True

    # ------------------------------------------------------------------ truth

    def mismatch(self) -> str | None:
        """How the ledger and llama.cpp's own positions disagree, None where they agree."""
        positions = self.context.positions
        ledger = self.ledger
        if not ledger.runs:
            return None if positions is None else f"the ledger is empty, llama.cpp holds positions {positions}"
        if positions is None:
            return f"the ledger ends at {ledger.next_pos - 1}, llama.cpp holds nothing"
        low, high = positions
        if high != ledger.next_pos - 1:
            return f"the ledger ends at position {ledger.next_pos - 1}, llama.cpp at {high}"
        first = ledger.runs[0].pos
        if self._can_cut and not self._n_swa and low != first:
            return f"the ledger begins at position {first}, llama.cpp at {low}"
        if self._n_swa and low > max(first, ledger.next_pos - self._n_swa):
            return f"the window of {self._n_swa} reaches back to {ledger.next_pos - self._n_swa}, its cells to {low}"
        if ledger.n_tokens > self.context.n_ctx:
            return f"the ledger counts {ledger.n_tokens} tokens in {self.context.n_ctx} cells"
        return None
