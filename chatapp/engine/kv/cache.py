"""The cache and its ledger, changed together: every step is applied to llama.cpp and to the ledger, and compared.

Only the cache changes the ledger: to pin or recall a turn, call it here.

One branch of the conversation is in use; others may be parked in sequences of their own, as long as there are cells
for them. A common beginning is cached once, in cells that the sequences share. A shared cell has one position for all
of them, so parked branches are released before anything is evicted or shifted.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Final

from chatapp.cache import policy as policies
from chatapp.cache.ledger import EvictedTurn, Ledger
from chatapp.cache.policy import EvictionPlan, Remove, Renumber, Reprocess
from chatapp.engine.interrupts import CancelledError, WindowFullError
from chatapp.engine.kv import checkpoints, prefill_plan
from chatapp.engine.kv.checkpoints import Checkpoint
from chatapp.engine.kv.decode_pace import DecodePace
from chatapp.engine.kv.eviction_report import Eviction
from chatapp.engine.kv.ledger_check import LedgerCheck
from chatapp.engine.kv.occupancy import Occupancy
from chatapp.engine.kv.parked_branches import ParkedBranches
from chatapp.engine.kv.prefill_plan import CacheRules, Prefill, PrefillForecast
from chatapp.engine.kv.roll_back import RollBack
from chatapp.engine.kv.sliding_floor import SlidingFloor
from chatapp.engine.native.llama import ABORTED, NO_CELL, Context
from chatapp.errors import EngineError
from chatapp.protocol.events import Evicted, Released

UNWATCHED: Final = nullcontext()
"""The context manager around a decode that is not sampled."""


class KvCache:
    """The cache of one llama.cpp context, under one policy.

    `can_cut` is False for a recurrent state. `checkpoint_bytes` limits the checkpoints of one branch; 0 where the cache
    can always be cut.
    """

    def __init__(
        self,
        context: Context,
        rules: CacheRules,
        *,
        can_cut: bool,
        on_evicted: Callable[[Evicted], None],
        cancelled: Callable[[], bool],
        on_released: Callable[[Released], None] = lambda _: None,
        checkpoint_bytes: int = 0,
    ) -> None:
        self.context = context
        self.rules = rules
        self.policy = rules.policy
        self._ledger = Ledger()
        self.shifts = 0
        self.processed = 0
        self.checkpoints: tuple[Checkpoint, ...] = ()
        self.unfinished: Ledger | None = None
        """What the cache is to hold once an unfinished rebuild is finished; None where there is none."""
        self.cancelled = cancelled
        self._can_cut, self._checkpoint_bytes = can_cut, checkpoint_bytes
        self._on_evicted = on_evicted
        self._pace = DecodePace(rules.chunk, stoppable=can_cut)
        self._floor, self._cells = SlidingFloor(rules.n_swa), Occupancy(context.n_ctx)
        self.parked = ParkedBranches(context, self._cells, on_released)
        self._unreported: Eviction | None = None
        self._keys_rotate = False
        """Keys rotate inside the next decode. Stopped there, it would leave some of them rotated."""
        self._check = LedgerCheck(context, n_swa=rules.n_swa, recurrent=not can_cut)

    @property
    def ledger(self) -> Ledger:
        """The ledger of the branch in use."""
        return self._ledger

    @property
    def n_free(self) -> int:
        """Cells that no branch holds."""
        return self._cells.n_free

    def without_evicted(self, prefill: Prefill) -> Prefill:
        """See CacheRules.without_evicted."""
        return self.rules.without_evicted(self.ledger, prefill, self._whole_from)

    def prefill(self, prefill: Prefill, *, logits: str = "last", after: Callable[[int], None] | None = None) -> None:
        """Run the pieces through the model in chunks, with cells freed for all of them at once, as far as they fit.

        `after(done)` is called after each one. Raises WindowFullError, or CancelledError, with ledger and cache equal.
        """
        boundaries, total = prefill.marks if self._checkpoint_bytes else (), prefill.n_tokens
        for chunk in prefill_plan.chunks(prefill.pieces, self.rules.chunk, boundaries):
            for step in self._pace.steps(chunk):
                self._end_if_cancelled()
                if step.start == chunk.start:
                    if chunk.start in boundaries:
                        self._take_checkpoint()
                    self.make_room(*self.rules.need(self.ledger, chunk, prefill), "the prompt needed cells")
                tokens = step.tokens
                done = step.start + len(tokens)
                self._decode(tokens, "all" if logits == "all" else "last" if done == total else "none")
                for part in step.parts:
                    self._ledger = self.rules.enter(self._ledger, part)
                self.processed += len(tokens)
                self._compare()
                if after:
                    after(done)

    def extend(self, turn: int, token: int, watch: AbstractContextManager[None] = UNWATCHED) -> None:
        """Run one token of the reply through the model, its decode inside `watch`."""
        if not self.n_free or self.ledger.next_pos >= self.rules.max_pos:
            self.make_room(1, turn, "the reply needed cells")
        with watch:
            self._decode([token], "last")
        self._ledger = self._ledger.append_sinks_first(turn, "assistant", (token,), n_sink=self.rules.n_sink)
        self._compare()

    def _decode(self, tokens: Sequence[int], logits: str) -> None:
        began = time.perf_counter()
        self._run(tokens, self.ledger.next_pos, logits)
        if self._unreported:
            self._on_evicted(self._unreported.event((time.perf_counter() - began) * 1000))
            self._unreported = None

    def _run(self, tokens: Sequence[int], pos: int, logits: str) -> None:
        """One decode. Where llama.cpp finds no free cell (in a pruned SWA cache, say), parked branches are released.

        A batch of several tokens can be stopped, but for a recurrent state: that could not go back to before it.
        """
        self.context.abort.enable(len(tokens) > 1 and self._can_cut and not self._keys_rotate)
        began = time.perf_counter()
        while (status := self.context.decode(tokens, pos, logits=logits)) == NO_CELL and self.parked:
            self.parked.release_oldest("llama.cpp found no free cell")
        if status == ABORTED and self.context.abort.requested:
            self._floor.decoded(pos)
            raise CancelledError
        if status:
            raise EngineError(f"llama.cpp could not process {len(tokens)} tokens (status {status}).", "See the log.")
        self._pace.took(len(tokens), time.perf_counter() - began)
        self._keys_rotate = False
        self._floor.decoded(pos)
        self._cells.decoded(len(tokens))

    def _end_if_cancelled(self) -> None:
        self.context.abort.forget()
        if self.cancelled():
            raise CancelledError

    def _take_checkpoint(self) -> None:
        new = Checkpoint(self.ledger.next_pos, self.context.state(part=True))
        self.checkpoints = checkpoints.added(self.checkpoints, new, self._checkpoint_bytes)

    def forecast(self, prefills: Sequence[Prefill], cancelled: Callable[[], bool] = lambda: False) -> PrefillForecast:
        """What `prefill` would do with each in turn, an unfinished rebuild before them included. Raises CancelledError
        where that takes long and `cancelled` says so.
        """
        rules, ledger, floor = self.rules, self.ledger, self._floor.known
        low, again = (self.context.positions or (0, 0))[0], 0
        if self.unfinished is not None:
            ledger, floor = self.unfinished.compact(), None
            low, again = max(0, ledger.n_tokens - rules.n_ctx_swa), ledger.n_tokens
        found = prefill_plan.forecast(
            rules, ledger, prefills, checkpoints=self._checkpoint_bytes > 0, floor=floor, low=low, cancelled=cancelled
        )
        return replace(found, reprocessed=again + found.reprocessed)

    def make_room(self, need: int, turn: int | None, why: str) -> None:
        """Free `need` cells: those of parked branches first, then by the policy. WindowFullError where it cannot."""
        self.parked.release_for(need)
        plan = self.rules.make_room(self.ledger, need, turn, self._whole_from)
        if plan.full:
            raise WindowFullError(plan.full)
        if not plan.steps:
            return
        self.parked.release_all("cells that it shares were evicted or shifted")
        began, processed = time.perf_counter(), self.processed
        ledger = policies.apply(self.ledger, plan)

        def done() -> Eviction:
            self.shifts += plan.renumbers
            return Eviction(
                plan, self.policy, turn, why, (time.perf_counter() - began) * 1000, self.processed - processed
            )

        if not self.rules.needs_rebuild(self.ledger, plan, self._whole_from):
            self._apply(plan)
            self._now_holds(ledger)
        else:
            try:
                self.rebuild(ledger)
            except CancelledError:  # the unfinished rebuild has evicted them, and no decode follows to time
                self._on_evicted(done().event(0.0))
                raise
        self._unreported = done()

    def _apply(self, plan: EvictionPlan) -> None:
        for step in plan.steps:
            match step:
                case Remove(p0, p1):
                    if not self.context.remove(p0, p1):
                        raise EngineError(
                            f"llama.cpp refused to remove positions {p0} to {p1}.", "Use --policy rebuild."
                        )
                case Renumber(p0, delta):
                    if p0 < self.ledger.next_pos:
                        self.context.renumber(p0, delta)
                        self._keys_rotate = True
                case Reprocess():
                    raise AssertionError("a plan that reprocesses is a rebuild")

    def can_cut(self, p0: int) -> bool:
        """True where the cache is still complete after everything from position p0 on is removed.

        In a pruned SWA cache the cells that the window of position p0 needs may be gone, and llama.cpp does not say so.
        A recurrent state cannot be cut at all.
        """
        if not self._can_cut:
            return p0 >= self.ledger.next_pos
        if not self.rules.n_swa or p0 >= self.ledger.next_pos:
            return True
        return self._whole_from <= max(0, p0 - self.rules.n_swa)

    @property
    def _whole_from(self) -> int:
        """The position from which on the sliding layers certainly hold every token (SlidingFloor)."""
        return self._floor.at(self.context.positions)

    def go_back(self, p0: int, after: Callable[[int], None] | None = None) -> RollBack:
        """Go back to position p0: by a cut, from a checkpoint, or by a rebuild.

        `after(done)` is called as tokens are processed. Raises CancelledError with `unfinished` set.
        """
        if self.unfinished is not None:  # the cache holds only a part of it
            self.unfinished = self.unfinished.truncate(p0)
            return RollBack.UNFINISHED
        if self.can_cut(p0):
            self._cut(p0)
            return RollBack.CUT
        target = self.ledger.truncate(p0)
        if not self._to_checkpoint(p0):
            self.rebuild(target, after)
            return RollBack.REBUILT
        self._reprocess(target, after)
        return RollBack.CHECKPOINT

    def _to_checkpoint(self, p0: int) -> bool:
        """Go back to the newest checkpoint at or before p0; False where there is none."""
        good = checkpoints.until(self.checkpoints, p0)
        if not good or not self.context.restore(good[-1].state, part=True):
            return False
        self._cut(good[-1].pos)
        self._floor.known = self._floor.back_from(good[-1].pos)
        return True

    def _cut(self, p0: int) -> None:
        floor = self._whole_from
        if not self.context.remove(p0, -1):
            raise EngineError(
                f"llama.cpp refused to remove the tokens from position {p0} on.", "Start a new conversation."
            )
        ledger = self.ledger.truncate(p0)
        self._floor.known = floor
        self.checkpoints = checkpoints.until(self.checkpoints, p0)
        self._ledger = ledger
        self._cells.cut(ledger.n_tokens, self.parked.writes)
        self._compare()

    def clear(self) -> None:
        """Empty the cache, parked branches included."""
        self.context.clear()
        self.parked.forget()
        self._unreported = None
        self._now_holds(Ledger())

    def rebuild(self, ledger: Ledger, after: Callable[[int], None] | None = None) -> None:
        """Rebuild the cache: run the tokens of `ledger`, its gaps closed, through the model again.

        Raises CancelledError between two chunks; `settle` then finishes what is `unfinished`.
        """
        if self.parked:
            self.context.release(self.context.sequence)
        else:
            self.context.clear()
        target = ledger.compact()
        self._now_holds(target.truncate(0))
        self._floor.known = 0 if self.parked else None
        self.parked.release_for(target.n_tokens)
        self._reprocess(target, after)

    def _reprocess(self, target: Ledger, after: Callable[[int], None] | None) -> None:
        """Process the tokens of `target` that follow the ledger, which is its beginning."""
        self.unfinished = target
        rest, begin = target.tokens[self.ledger.n_tokens :], self.ledger.next_pos
        done = 0
        while done < len(rest):
            self._end_if_cancelled()
            step = rest[done : done + self._pace.size]
            done += len(step)
            self._run(step, begin + done - len(step), "last" if done == len(rest) else "none")
            self.processed += len(step)
            self._ledger = target.truncate(begin + done)
            self._compare()
            if after:
                after(done)
        self._ledger, self.unfinished = target, None

    def settle(self, after: Callable[[int], None] | None = None) -> None:
        """Finish a rebuild that was cancelled."""
        if self.unfinished is not None:
            self.rebuild(self.unfinished, after)

    def restore(self, ledger: Ledger, state: bytes | memoryview) -> bool:
        """Restore a saved cache; False, and an empty cache, where llama.cpp rejects it or disagrees with the ledger."""
        self.clear()
        if self.context.restore(state):
            self._now_holds(ledger)
            if self.mismatch() is None:
                return True
        self.clear()
        return False

    def _now_holds(self, ledger: Ledger) -> None:
        """Record a change after which no checkpoint is valid and no parked branch shares cells with this one."""
        self._ledger, self.unfinished, self.checkpoints = ledger, None, ()
        self._floor.known = self._floor.back_from(ledger.next_pos) if ledger.runs else None
        self._cells.replaced(ledger.n_tokens, self.parked.writes)
        self._compare()

    # ------------------------------------------------------------------ pins and recalls, which change no cell

    def pin(self, turn: int) -> None:
        """Protect the turn's tokens from eviction."""
        self._ledger = self._ledger.pin(turn)

    def unpin(self, turn: int) -> None:
        """Allow the turn's tokens to be evicted again."""
        self._ledger = self._ledger.unpin(turn)

    def returned(self, turns: Sequence[int], still_gone: Sequence[EvictedTurn] = ()) -> None:
        """Record that these turns were recalled; of one whose recall was stopped a part is `still_gone`."""
        self._ledger = self._ledger.returned(turns, still_gone=still_gone)

    def left_out(self, gone: Sequence[EvictedTurn]) -> None:
        """Record turns that are older than what is cached and were not processed: they count as evicted."""
        ledger, tokens = self._ledger, sum(each.tokens for each in gone)
        self._ledger = replace(ledger, gone=(*gone, *ledger.gone), evicted_tokens=ledger.evicted_tokens + tokens)

    # ------------------------------------------------------------------ branches

    @property
    def n_elsewhere(self) -> int:
        """Cells that only parked branches use."""
        return self.context.n_ctx - self.n_free - self.ledger.n_tokens

    def can_fork(self, p0: int) -> bool:
        """True where the cache up to position p0 can be shared with another branch."""
        if self.context.n_sequences < 2 or self.unfinished is not None:
            return False
        return self.can_cut(p0) or any(each.pos == p0 for each in self.checkpoints)

    def fork(self, p0: int) -> int:
        """Park the branch in use and continue from position p0 in another sequence; returns the parked one. Only where
        `can_fork` allows it.
        """
        here, whole = self.context.sequence, self.can_cut(p0)
        other = self.parked.unused_sequence()
        self.context.share(other, p0)
        self._park()
        self.context.use(other)
        if not whole and not self._to_checkpoint(p0):
            raise EngineError("llama.cpp did not restore its own checkpoint.", "Start a new conversation.")
        self._cut(p0)
        return here

    def resume(self, sequence: int) -> int:
        """Continue a parked branch and park the one in use; returns the sequence of the latter."""
        here = self.context.sequence
        self._park()
        branch = self.parked.resume(sequence)
        self._ledger, self.checkpoints = branch.ledger, branch.checkpoints
        self._floor.known = max(branch.whole_from, self._floor.back_from(branch.ledger.next_pos))
        self._compare()
        return here

    def _park(self) -> None:
        self.parked.park(self._ledger, self.checkpoints, self._whole_from)

    def mismatch(self) -> str | None:
        """How the ledger and llama.cpp's own positions disagreed after any step since the last call, None where they
        agreed after each.
        """
        self._compare()
        return self._check.take()

    def _compare(self) -> None:
        self._check.compare(self._ledger)
