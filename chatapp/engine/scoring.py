"""Perplexity of a text streamed through the cache, under whatever policy the cache has."""

import math
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from chatapp.engine.llama import Model
from chatapp.engine.protocol import AnyEvent, Measured, Scored
from chatapp.engine.resident import CancelledError, Piece, Resident, WindowFullError

CURVE_STEP_TOK = 512


def measure(
    model: Model, resident: Resident, text: str, max_tokens: int | None, emit: Callable[[AnyEvent], None]
) -> None:
    """Score every token of `text` (at most `max_tokens`) given those that are resident before it.

    The text is one turn, so that evictions go token by token inside it, as in StreamingLLM's experiments. Emits Scored
    for each 512 tokens and Measured at the end. A `dense` cache that is full ends the stream early, and says so.
    """
    tokens = model.tokenize(text, special=False)
    if model.bos is not None:
        tokens = [model.bos, *tokens]
    tokens = tokens[:max_tokens]
    resident.clear()
    shifts, evicted = resident.shifts, resident.ledger.evicted_tokens
    nll: list[float] = []
    curve: list[float] = []
    began = time.perf_counter()
    row: npt.NDArray[np.float64] | None = None
    scored_to = 0

    def score(done: int) -> None:
        nonlocal row, scored_to
        chunk = tokens[scored_to:done]
        logits = resident.context.logits(len(chunk)).astype(np.float64)
        top = logits.max(axis=1)
        log_z = top + np.log(np.exp(logits - top[:, None]).sum(axis=1))
        if row is not None:
            nll.append(float(row[chunk[0]]))
        nll.extend(float(log_z[i] - logits[i, token]) for i, token in enumerate(chunk[1:]))
        row = log_z[-1] - logits[-1]
        scored_to = done
        while len(nll) >= CURVE_STEP_TOK * (len(curve) + 1):
            at = CURVE_STEP_TOK * len(curve)
            curve.append(math.exp(float(np.mean(nll[at : at + CURVE_STEP_TOK]))))
            emit(Scored(at_s=time.time(), tokens=at + CURVE_STEP_TOK, perplexity=curve[-1]))

    stop_reason = "end"
    try:
        resident.prefill([Piece(1, "text", tuple(tokens))], logits="all", after=score)
    except WindowFullError:
        stop_reason = "window_full"
    except CancelledError:
        stop_reason = "cancelled"
    if len(nll) % CURVE_STEP_TOK:
        curve.append(math.exp(float(np.mean(nll[CURVE_STEP_TOK * len(curve) :]))))
    emit(
        Measured(
            at_s=time.time(),
            perplexity=math.exp(float(np.mean(nll))) if nll else math.nan,
            tokens=len(nll),
            shifts=resident.shifts - shifts,
            evicted_tokens=resident.ledger.evicted_tokens - evicted,
            tok_s=scored_to / (time.perf_counter() - began),
            n_ctx=resident.context.n_ctx,
            n_sink=resident.ledger.n_sink,
            policy=resident.policy,
            curve=curve,
            stop_reason=stop_reason,
        )
    )
