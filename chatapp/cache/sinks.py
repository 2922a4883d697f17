"""How many first tokens a model needs: a decision on measured losses.

The same tokens are predicted again and again from a window that has lost what lies between its first n tokens and its
recent ones, for a few n. A first token that is not needed takes a cell that another token could have; one that is
needed and not there costs loss on every token that follows (StreamingLLM, arXiv 2309.17453, tables 1 and 2).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

CANDIDATES = (0, 1, 2, 4, 8)
"""Counts that are tried, as in StreamingLLM's table 2: no model there gained from more."""
TOLERANCE_NATS = 0.05
"""A loss that is higher by no more than this (5% of the perplexity) is as good: the few hundred tokens of a
measurement do not tell less from chance."""
ERRORS = 2
"""Standard errors that a difference must have to spare, so that a noisy measurement keeps more first tokens."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What it costs to keep `n_sink` first tokens: mean loss in nats a token, how much that is above the best trial's,
    and the standard error of that difference over the tokens, each compared with itself.
    """

    n_sink: int
    loss: float
    excess: float
    error: float

    @property
    def good(self) -> bool:
        """True where it is certain enough that the best trial is hardly better."""
        return self.excess + ERRORS * self.error <= TOLERANCE_NATS


def compare(losses: Sequence[tuple[int, Sequence[float]]]) -> tuple[Trial, ...]:
    """The trials, from (first tokens kept, loss in nats of each token): the same two or more tokens in every one."""
    means = [fmean(values) for _, values in losses]
    best = losses[min(range(len(means)), key=means.__getitem__)][1]
    trials: list[Trial] = []
    for (n_sink, values), loss in zip(losses, means, strict=True):
        above = [value - least for value, least in zip(values, best, strict=True)]
        trials.append(Trial(n_sink, loss, fmean(above), stdev(above) / math.sqrt(len(above))))
    return tuple(trials)


def fewest(trials: Sequence[Trial]) -> int:
    """The fewest first tokens that are as good as the best trial's; that one always is."""
    return min(trial.n_sink for trial in trials if trial.good)
