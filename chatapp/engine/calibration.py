"""How much a model loses when its first tokens leave the cache: measured on a short text that travels with the program.

The text is read up to a point; what lies between the first tokens and the recent ones leaves, as in a chat whose window
is full; then the tokens that follow are predicted. They are taken out again, some more of the first tokens leave, and
the same tokens are predicted once more: 8 first tokens, 4, 2, 1 and none. Nothing but the few tokens that are scored
is processed twice.

What it finds for two models stands in docs/cache.md, why it is done so in docs/decisions/0011-sinks-by-loss.md.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from chatapp.cache.plan import padded
from chatapp.cache.sinks import CANDIDATES, ERRORS, TOLERANCE_NATS, Trial, compare
from chatapp.engine.llama import Context, Model
from chatapp.engine.outliers import LEAST_RATIO, ResidualNorms
from chatapp.engine.protocol import CacheSettings, EngineSettings, Outlier
from chatapp.engine.resident import CancelledError
from chatapp.engine.scoring import losses
from chatapp.errors import EngineError

VERSION: Final = 1
"""Of the method, beside the numbers below and the text, which count by themselves."""
RECENT_TOK: Final = 256
"""Recent tokens that stay, or as many as a sliding window holds: its layers must not see the gap."""
GAP_TOK: Final = 32
"""Tokens in front of these; all but the first ones of them leave."""
SCORED_TOK: Final = 128
PASSES: Final = 2
"""From the beginning of the text, and up to its end."""
BATCH_TOK: Final = 64
N_OUTPUTS: Final = BATCH_TOK


class UnmeasurableError(Exception):
    """This model cannot be measured; the message says why, in words that go into a sentence."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was found. `outliers` is None where the model's layers have names that are not known."""

    trials: tuple[Trial, ...]
    scored_tok: int
    outliers: list[Outlier] | None


@cache
def method() -> str:
    """A hash of all that a result depends on beside the model."""
    numbers = (RECENT_TOK, GAP_TOK, SCORED_TOK, PASSES, CANDIDATES, TOLERANCE_NATS, ERRORS, LEAST_RATIO)
    return blake2b(f"{VERSION} {numbers} {_text()}".encode(), digest_size=16).hexdigest()


def positions(n_swa: int | None) -> int:
    """Positions that a measurement uses."""
    return _prefix(n_swa) + SCORED_TOK


def settings(n_swa: int | None) -> CacheSettings:
    """The cache that it takes. No layer's cells are pruned, so that what was scored can be taken out again."""
    return CacheSettings(n_ctx=padded(positions(n_swa)), micro_batch=BATCH_TOK, swa_full=True)


def measure(
    model: Model,
    engine: EngineSettings,
    *,
    n_swa: int | None,
    renumbers: bool,
    on_progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> Measurement:
    """Make a small cache, measure in it, and free it.

    `renumbers`: what stays moves up when tokens leave (the policy `sinks`), or keeps its positions (`slide`).
    `on_progress` is told tokens done and in all, a batch at a time. Raises UnmeasurableError, and CancelledError
    between two batches.
    """
    tokens = model.tokenize(_text(), special=False)
    first = [model.bos] if model.bos is not None else []
    need = positions(n_swa) + 1 - len(first)
    if len(tokens) < need:
        raise UnmeasurableError(f"its sliding window of {n_swa} tokens is longer than the text that it would read")
    starts = [(len(tokens) - need) * index // (PASSES - 1) for index in range(PASSES)]
    norms = ResidualNorms()
    context = Context(model, settings(n_swa), engine, n_outputs=N_OUTPUTS, callback=norms.callback)
    try:
        run = _Run(context, _prefix(n_swa), renumbers, on_progress, cancelled)
        found = norms.outliers(context, [*first, *tokens][:BATCH_TOK])
        scored: dict[int, list[float]] = {n_sink: [] for n_sink in CANDIDATES}
        for start in starts:
            run.score([*first, *tokens[start : start + need]], scored)
    finally:
        context.close()
    if not all(math.isfinite(value) for values in scored.values() for value in values):
        raise UnmeasurableError("its logits are no numbers")
    return Measurement(compare(list(scored.items())), PASSES * SCORED_TOK, found)


class _Run:
    """The passes through one cache, and how far they are."""

    def __init__(
        self,
        context: Context,
        prefix: int,
        renumbers: bool,
        on_progress: Callable[[int, int], None],
        cancelled: Callable[[], bool],
    ) -> None:
        self._context = context
        self._prefix = prefix
        self._renumbers = renumbers
        self._on_progress, self._cancelled = on_progress, cancelled
        self._done, self._total = 0, PASSES * (prefix + len(CANDIDATES) * SCORED_TOK)

    def score(self, tokens: Sequence[int], into: dict[int, list[float]]) -> None:
        """One pass: add the loss of each scored token, in nats, by the number of first tokens that were kept."""
        context = self._context
        context.clear()
        end, kept = self._prefix, GAP_TOK
        self._decode(tokens[:end], 0, None)
        for n_sink in sorted(CANDIDATES, reverse=True):
            if not context.remove(n_sink, kept):
                raise EngineError(f"llama.cpp refused to drop positions {n_sink} to {kept}.", "Use a number of sinks.")
            if self._renumbers:
                context.renumber(kept, n_sink - kept)
                end -= kept - n_sink
            kept = n_sink
            into[n_sink] += self._decode(tokens[self._prefix : -1], end, tokens[self._prefix + 1 :])
            context.remove(end, -1)

    def _decode(self, tokens: Sequence[int], pos: int, following: Sequence[int] | None) -> list[float]:
        """Run the tokens through the model; the loss of each of those that follow them, where these are given."""
        found: list[float] = []
        for at in range(0, len(tokens), BATCH_TOK):
            if self._cancelled():
                raise CancelledError
            batch = tokens[at : at + BATCH_TOK]
            status = self._context.decode(batch, pos + at, logits="none" if following is None else "all")
            if status:
                raise EngineError(f"llama.cpp could not process {len(batch)} tokens (status {status}).", "See the log.")
            if following is not None:
                found += losses(self._context.logits(len(batch)), following[at : at + BATCH_TOK]).tolist()
            self._done += len(batch)
            self._on_progress(self._done, self._total)
        return found


def _prefix(n_swa: int | None) -> int:
    """Tokens that are read before any leaves."""
    return GAP_TOK + max(RECENT_TOK, n_swa or 0)


def _text() -> str:
    return Path(__file__).with_name("calibration.txt").read_text(encoding="utf-8")
