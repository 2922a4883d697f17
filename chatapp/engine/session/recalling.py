"""Evicted turns are processed again, after everything else."""

import time
from collections.abc import Callable

from chatapp.cache.ledger import CellKind
from chatapp.engine.interrupts import CancelledError, WindowFullError
from chatapp.engine.kv import prefill_plan
from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.session import pins
from chatapp.engine.session.live_branches import LiveBranches
from chatapp.engine.session.progress import ProgressReport
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.session.turn_tokens import TurnTokens
from chatapp.errors import UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Recalled, RecallForeseen


class Recalling:
    """A recall in one conversation. `drop(turn, why)` removes what of a turn is cached."""

    def __init__(
        self,
        branches: LiveBranches,
        tokens: TurnTokens,
        report: ProgressReport,
        emit: Callable[[AnyEvent], None],
        drop: Callable[[int, str], None],
    ) -> None:
        self._branches, self._tokens, self._report = branches, tokens, report
        self._emit, self._drop = emit, drop

    def recall(self, turns: list[int], *, agreed: bool = True) -> None:
        """Process evicted turns again, after everything else. UserError where they were not evicted, or do not fit.

        Where other tokens would be evicted for them and that is not `agreed`, only report it.
        """
        began = time.perf_counter()
        branches, kv = self._branches, self._branches.kv
        transcript, turns = branches.transcript, sorted(set(turns))
        for turn in turns:
            if turn not in transcript.turns:
                raise UserError(f"There is no turn {turn} with a reply.")
            if turn in kv.ledger.in_window:
                raise UserError(f"Turn {turn} is in the window already.")
        back = [piece for turn in turns for piece in self._again(transcript, turn)]
        total = prefill_plan.count(back)
        kept = kv.ledger.n_sink + kv.ledger.n_pinned
        free = pins.most(kv) - kept
        if total > free:
            n_ctx = kv.context.n_ctx
            raise UserError(
                f"{'These turns take' if len(turns) > 1 else 'The turn takes'} {total} tokens, and {max(0, free)} fit: "
                f"{kept} of {n_ctx} cells hold sinks and pinned turns, and a quarter must stay free.",
                "Recall fewer turns, unpin one, or use a larger --ctx.",
            )
        prefill = kv.without_evicted(Prefill([self._tokens.pending(transcript, branches.tail), *back]))
        found = kv.forecast([prefill])
        if not agreed and (found.leaving or found.partial is not None):
            self._emit(
                RecallForeseen(
                    at_s=time.time(),
                    turns=turns,
                    tokens=total,
                    leaving=list(found.leaving),
                    partial_turn=found.partial,
                )
            )
            return
        gone = [each for each in kv.ledger.gone if each.turn in turns]
        try:
            kv.prefill(prefill, after=self._report.progress(prefill.n_tokens, None))
        except (WindowFullError, CancelledError) as stop:
            self._drop(turns[0], "the recall was stopped")
            kv.returned(turns, still_gone=gone)
            self._report.snapshot()
            if isinstance(stop, CancelledError):
                raise
            raise UserError(f"The turn cannot be recalled: {stop}.") from stop
        kv.returned(turns)
        branches.closed()
        self._emit(Recalled(at_s=time.time(), turns=turns, tokens=total, ms=(time.perf_counter() - began) * 1000))
        self._report.snapshot()

    def _again(self, transcript: BranchTranscript, turn: int) -> list[Piece]:
        """The pieces of a recalled turn: closed, and marked as recalled."""
        return self._tokens.of_turn(transcript, turn, closed=True, kind=CellKind.RECALLED)
