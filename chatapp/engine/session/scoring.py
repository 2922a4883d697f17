"""Perplexity of a text: streamed through the cache under its policy, or recomputed for each token."""

import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chatapp.engine.interrupts import CancelledError, WindowFullError
from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.native.llama import Model
from chatapp.engine.native.losses import losses
from chatapp.engine.session import recompute
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import SCORED_STEP_TOK, Measure
from chatapp.protocol.events import Measured, Scored


def measure(model: Model, kv: KvCache, request: Measure, emit: Callable[[AnyEvent], None]) -> None:
    """Score one token in `request.every` of the text (at most `max_tokens` of it, BOS included) given those before it.

    Streamed, the text is one turn, so that its tokens are evicted singly, as in StreamingLLM's experiments
    (arXiv 2309.17453, section 4); the tokens that are scored are the same under every policy. Emits Scored for each
    512 tokens of the text and Measured at the end. A `dense` cache that is full ends the stream early.
    """
    tokens = model.tokenize(request.text, special=False)
    if model.bos is not None:
        tokens = [model.bos, *tokens]
    tokens = tokens[: request.max_tokens]
    kv.clear()
    shifts, evicted = kv.shifts, kv.ledger.evicted_tokens
    tally = _Tally(request.every, emit)
    began = time.perf_counter()
    done = 0

    def score(now: int) -> None:
        """Row i of the logits predicts the token after token done + i of the text."""
        nonlocal done
        wanted = [at for at in range(done + 1, min(now + 1, len(tokens))) if at % request.every == 0]
        rows = kv.context.logits(now - done)[[at - done - 1 for at in wanted]]
        tally.add(losses(rows, [tokens[at] for at in wanted]))
        done = now

    stop_reason = "end"
    try:
        if request.recompute:
            for at, row in recompute.predictions(model, kv, tokens, request.every):
                tally.add(losses(row, [tokens[at]]))
            done = len(tally.losses)
        else:
            kv.prefill(Prefill([Piece(1, "text", tuple(tokens))]), logits="all", after=score)
    except WindowFullError:
        stop_reason = "window_full"
    except CancelledError:
        stop_reason = "cancelled"
    tally.end()
    emit(
        Measured(
            at_s=time.time(),
            perplexity=math.exp(float(np.mean(tally.losses))) if tally.losses else math.nan,
            tokens=len(tally.losses),
            every=request.every,
            shifts=kv.shifts - shifts,
            evicted_tokens=kv.ledger.evicted_tokens - evicted,
            tok_s=done / (time.perf_counter() - began),
            n_ctx=kv.context.n_ctx,
            n_sink=0 if request.recompute else kv.ledger.n_sink,
            policy="recompute" if request.recompute else kv.policy,
            curve=tally.curve,
            stop_reason=stop_reason,
        )
    )


class _Tally:
    """Losses as they come, one for every `every`-th token of the text, emitted for each 512 tokens of the text."""

    def __init__(self, every: int, emit: Callable[[AnyEvent], None]) -> None:
        self.losses: list[float] = []
        self.curve: list[float] = []
        self._every = every
        self._emit = emit
        self._part: list[float] = []

    def add(self, losses: npt.NDArray[np.float64]) -> None:
        """The losses of the next tokens that are scored."""
        for loss in losses.tolist():
            self.losses.append(loss)
            self._part.append(loss)
            if (len(self.losses) + 1) * self._every > SCORED_STEP_TOK * (len(self.curve) + 1):
                self._tell()

    def end(self) -> None:
        """Emit the last, shorter part."""
        if self._part:
            self._tell()

    def _tell(self) -> None:
        part, self._part = self._part, []
        self.curve.append(math.exp(float(np.mean(part))))
        at = len(self.losses) * self._every
        self._emit(Scored(at_s=time.time(), tokens=at, perplexity=self.curve[-1], losses=part))
