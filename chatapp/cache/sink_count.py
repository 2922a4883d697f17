"""How many first tokens a model needs: a decision based on measured losses.

The same tokens are predicted from windows that have lost what lies between their first n tokens and their recent ones,
for a few n, with no more tokens than it takes to be sure. A first token that is not needed takes a cell that another
token could have; one that is needed and missing costs loss on every token that follows (StreamingLLM, arXiv
2309.17453, tables 1 and 2).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CANDIDATES = (0, 1, 2, 4, 8)
"""Counts to try, as in StreamingLLM's table 2: no model there gained from more."""
TOLERANCE_NATS = 0.05
"""A loss that is higher by no more than this (5% of the perplexity) counts as equal: with the few hundred tokens
of a measurement, less cannot be told from chance."""
ERRORS = 2.5
"""Standard errors that a difference must have to spare, so that a noisy measurement keeps more first tokens. Two and a
half after several checks are as sure as two after one (Pocock 1977, "Group sequential methods", table 1)."""
LOOK_TOK = 32
"""Tokens from one check of the losses to the next."""
LEAST_TOK = 64
"""Fewer tokens than this are not enough to call a count good: their spread is not known well enough."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What it costs to keep `n_sink` first tokens: mean loss in nats per token, how much that is above the best
    trial's, and the standard error of that difference over the tokens, each compared with itself.
    """

    n_sink: int
    loss: float
    excess: float
    error: float

    @property
    def good(self) -> bool:
        """True where it is certain enough that the best trial is hardly better."""
        return self.excess + ERRORS * self.error <= TOLERANCE_NATS

    @property
    def bad(self) -> bool:
        """True where more tokens would hardly make it good. To be wrong costs a cell, so one error is enough."""
        return self.excess - self.error > TOLERANCE_NATS


def compare(losses: Sequence[tuple[int, Sequence[float]]]) -> tuple[Trial, ...]:
    """The trials, from (first tokens kept, loss in nats of each token).

    All are of the same text from its beginning on, two tokens or more; the best is one of those that saw most of it.
    A shorter one is compared over its own tokens, and its loss is the best's with that difference.
    """
    most = max(len(values) for _, values in losses)
    best = min((values for _, values in losses if len(values) == most), key=fmean)
    trials: list[Trial] = []
    for n_sink, values in losses:
        above = [value - least for value, least in zip(values, best, strict=False)]
        excess = fmean(above)
        trials.append(Trial(n_sink, fmean(best) + excess, excess, stdev(above) / math.sqrt(len(above))))
    return tuple(trials)


def fewest(trials: Sequence[Trial]) -> int:
    """The fewest first tokens that are as good as the best trial's; that one always is."""
    return min(trial.n_sink for trial in trials if trial.good)


def undecided(losses: Mapping[int, Sequence[float]], most_tok: int) -> tuple[int, ...]:
    """The counts that LOOK_TOK more tokens are to be predicted with, so that `fewest` is certain; none where it is, or
    where all `most_tok` tokens were.

    The most first tokens are what others are compared with; none and one are tried first, for one is what most models
    need, and more only where one is not enough.

    >>> undecided({}, 256), undecided({8: [1.0] * 64, 1: [1.0] * 64, 0: [2.0] * 32}, 256)
    ((8, 1, 0), ())
    """
    reference, rest = max(CANDIDATES), sorted(CANDIDATES)[:-1]
    trials = {trial.n_sink: trial for trial in compare(list(losses.items()))} if losses else {}
    wanted: list[int] = []
    for n_sink in rest:
        seen = len(losses.get(n_sink, ()))
        if seen >= LEAST_TOK and trials[n_sink].good:
            break
        if seen < most_tok and not (seen and trials[n_sink].bad):
            wanted.append(n_sink)
            if n_sink > 0:
                break
    reach = max((len(losses.get(n_sink, ())) + LOOK_TOK for n_sink in wanted), default=0)
    if reach > len(losses.get(reference, ())):
        wanted.append(reference)
    return tuple(sorted(wanted, reverse=True))
