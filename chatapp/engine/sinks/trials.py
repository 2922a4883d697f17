"""How much a model loses when its first tokens are evicted, measured on a short text that comes with the program.

Part of the text is processed; the tokens between the first and the recent ones are evicted, as in a chat whose window
is full; then the tokens that follow are predicted: with 8 first tokens, with one and with none, and with 2 and 4 where
one is not enough. Each trial is a sequence of its own in one cache, and all share the same recent cells, so only the
scored tokens are processed more than once; a trial scores only as many as the decision takes.

Positions are contiguous with 8 first tokens; with fewer there is a gap of up to 8 positions, because a shared cell has
one position. A chat's cache has no gap there, and its recent tokens are at least 256 away.

docs/reference/cache.md has results of two models, docs/decisions/0011-sinks-by-loss.md the reasons for the method.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from chatapp.cache.memory_plan import padded
from chatapp.cache.sink_count import (
    CANDIDATES,
    ERRORS,
    LEAST_TOK,
    LOOK_TOK,
    TOLERANCE_NATS,
    Trial,
    compare,
    undecided,
)
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.native.losses import losses
from chatapp.engine.sinks.massive_activations import LEAST_RATIO, ResidualNorms
from chatapp.errors import EngineError
from chatapp.protocol.values import CacheSettings, EngineSettings, Outlier

VERSION: Final = 2
"""Version of the method; the numbers below and the text are part of the hash in any case."""
RECENT_TOK: Final = 256
"""Recent tokens that stay, or the width of a sliding window where that is more: its layers must not see the gap."""
GAP_TOK: Final = 32
"""Tokens before these; all but the first of them are evicted."""
SCORED_TOK: Final = 128
PASSES: Final = 2
"""One from the beginning of the text, and one up to its end where the first does not decide."""
BATCH_TOK: Final = 64
N_OUTPUTS: Final = LOOK_TOK
N_SEQUENCES: Final = len(CANDIDATES)


class UnmeasurableError(Exception):
    """This model cannot be measured; the message says why, as a clause."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """The result. `outliers` is None where the model's layers have unknown names."""

    trials: tuple[Trial, ...]
    scored_tok: int
    """The most tokens that a trial predicted."""
    outliers: list[Outlier] | None


@cache
def method() -> str:
    """A hash of everything but the model that a result depends on."""
    numbers = (
        RECENT_TOK,
        GAP_TOK,
        SCORED_TOK,
        PASSES,
        LOOK_TOK,
        LEAST_TOK,
        ERRORS,
        CANDIDATES,
        TOLERANCE_NATS,
        LEAST_RATIO,
    )
    return blake2b(f"{VERSION} {numbers} {_text()}".encode(), digest_size=16).hexdigest()


def positions(n_swa: int | None) -> int:
    """Positions that a measurement uses."""
    return _prefix(n_swa) + SCORED_TOK


def settings(n_swa: int | None) -> CacheSettings:
    """The cache for a measurement: one window, and each trial's scored tokens. No layer's cells are pruned: each
    sequence would need a window of its own.
    """
    n_ctx = padded(_prefix(n_swa) + N_SEQUENCES * SCORED_TOK)
    return CacheSettings(n_ctx=n_ctx, micro_batch=BATCH_TOK, swa_full=True)


def measure(
    model: Model,
    engine: EngineSettings,
    *,
    n_swa: int | None,
    renumbers: bool,
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Measurement:
    """Create a small cache, measure in it, and free it.

    `renumbers`: kept tokens are shifted after an eviction (the policy `sinks`), or keep their positions (`slide`).
    `on_progress` gets the tokens done and the total after each batch. Raises UnmeasurableError, and CancelledError
    between two batches.
    """
    tokens = model.tokenize(_text(), special=False)
    first = [model.bos] if model.bos is not None else []
    prefix, need = _prefix(n_swa), positions(n_swa) + 1 - len(first)
    if len(tokens) < need:
        raise UnmeasurableError(f"its sliding window of {n_swa} tokens is longer than the text that is read for it")
    norms = ResidualNorms()
    context = Context(
        model, settings(n_swa), engine, n_outputs=N_OUTPUTS, n_sequences=N_SEQUENCES, callback=norms.callback
    )
    reader = _Reader(context, on_progress, cancelled)
    starts = [(len(tokens) - need) * index // (PASSES - 1) for index in range(PASSES)]
    texts = [[*first, *tokens[start : start + need]] for start in starts]
    places = [_Place(context, reader, text, prefix, renumbers) for text in texts]
    scored: dict[int, list[float]] = {}
    here = places[0]
    try:
        found = norms.outliers(context, texts[0][:BATCH_TOK])
        here.enter(BATCH_TOK)
        while wanted := undecided(scored, PASSES * SCORED_TOK):
            for n_sink in wanted:
                values = scored.setdefault(n_sink, [])
                index, at = divmod(len(values), SCORED_TOK)
                if places[index] is not here:
                    here = places[index]
                    context.clear()
                    here.enter(0)
                values += here.score(n_sink, at)
                if not all(map(math.isfinite, values)):
                    raise UnmeasurableError("its logits are not finite")
    finally:
        context.close()
    trials = compare(sorted(scored.items()))
    return Measurement(trials, max(map(len, scored.values())), found)


class _Reader:
    """Runs tokens through one cache and reports progress."""

    def __init__(
        self, context: Context, on_progress: Callable[[int, int], None], cancelled: Callable[[], bool]
    ) -> None:
        self._context = context
        self._on_progress, self._cancelled = on_progress, cancelled
        self.done = self.total = 0

    def read(self, tokens: Sequence[int], pos: int) -> None:
        """Process the tokens at positions pos, pos + 1, ..."""
        for at in range(0, len(tokens), BATCH_TOK):
            self._decode(tokens[at : at + BATCH_TOK], pos + at, "none")

    def score(self, tokens: Sequence[int], pos: int) -> list[float]:
        """Process all but the last of the tokens; the loss of each but the first, in nats."""
        self._decode(tokens[:-1], pos, "all")
        return losses(self._context.logits(len(tokens) - 1), tokens[1:]).tolist()

    def _decode(self, batch: Sequence[int], pos: int, logits: str) -> None:
        if self._cancelled():
            raise CancelledError
        status = self._context.decode(batch, pos, logits=logits)
        if status:
            raise EngineError(f"llama.cpp could not process {len(batch)} tokens (status {status}).", "See the log.")
        self.done += len(batch)
        self.total = max(self.total, self.done)
        self._on_progress(self.done, self.total)


class _Place:
    """One place in the text: a window whose middle was just evicted, and a sequence for each number of first tokens.

    All of them share the window's cells; each has cells of its own for the tokens it scored.
    """

    def __init__(self, context: Context, reader: _Reader, tokens: Sequence[int], prefix: int, renumbers: bool) -> None:
        """`tokens` are `prefix` to process, SCORED_TOK to predict with, and one more to predict."""
        self._context, self._reader = context, reader
        self._tokens, self._prefix, self._renumbers = tokens, prefix, renumbers
        self._end = 0
        self._n_scored: dict[int, int] = {}

    def enter(self, n_cached: int) -> None:
        """Use the cache for this place; it holds the first `n_cached` of its tokens, and nothing else."""
        context, most = self._context, max(CANDIDATES)
        self._n_scored.clear()
        self._reader.read(self._tokens[n_cached : self._prefix], n_cached)
        self._end = self._prefix
        _remove(context, most, GAP_TOK)
        if self._renumbers:
            context.renumber(GAP_TOK, most - GAP_TOK)
            self._end -= GAP_TOK - most

    def score(self, n_sink: int, at: int) -> list[float]:
        """The losses of the next LOOK_TOK tokens, of which `at` were scored with `n_sink` first tokens before."""
        context, most = self._context, max(CANDIDATES)
        sequence = CANDIDATES[::-1].index(
            n_sink
        )  # the trial with the most first tokens has sequence 0; the others share its cells
        if n_sink not in self._n_scored:
            self._n_scored[n_sink] = 0
            if n_sink != most:
                context.share(sequence, self._end)
                context.use(sequence)
                _remove(context, n_sink, most)
        context.use(sequence)
        n_scored = self._n_scored[n_sink]
        scored = self._tokens[self._prefix :]
        self._reader.read(scored[n_scored:at], self._end + n_scored)  # evicted for another place
        found = self._reader.score(scored[at : at + LOOK_TOK + 1], self._end + at)
        self._n_scored[n_sink] = at + LOOK_TOK
        context.use(0)
        return found


def _remove(context: Context, p0: int, p1: int) -> None:
    if not context.remove(p0, p1):
        raise EngineError(f"llama.cpp refused to remove positions {p0} to {p1}.", "Set a number of sinks (--sinks).")


def _prefix(n_swa: int | None) -> int:
    """Tokens that are processed before the eviction."""
    return GAP_TOK + max(RECENT_TOK, n_swa or 0)


def _text() -> str:
    return Path(__file__).with_name("trials.txt").read_text(encoding="utf-8")
