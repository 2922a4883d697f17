"""A figure's history over a whole conversation in a bounded number of spans: spans get longer, none is dropped."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MOST = 240
"""Spans kept. When there are more, every two become one."""
FIRST_S = 1.0
"""A span's length at first, in seconds."""


MARKED = " ^ eviction"
"""What the marks under the bars mean."""


@dataclass(frozen=True, slots=True)
class SeriesSpan:
    """The largest value within a stretch of time, and the number of evictions in it."""

    value: int
    evictions: int = 0


class TimeSeries:
    """Values over time. When time goes back (another host's clock), a value joins the newest span."""

    def __init__(self) -> None:
        self.spans: list[SeriesSpan] = []
        self._step_s = FIRST_S
        self._began_s = 0.0

    def add(self, at_s: float, value: int, evictions: int = 0) -> None:
        """One reading; `evictions` are those since the previous reading."""
        if not self.spans:
            self._began_s = at_s
        new = SeriesSpan(value, evictions)
        if self.spans and at_s < self._began_s + len(self.spans) * self._step_s:
            self.spans[-1] = joined([self.spans[-1], new])
            return
        self.spans.append(new)
        # A pause has no span of its own: what follows it is drawn next to what came before.
        self._began_s = max(self._began_s, at_s - (len(self.spans) - 1) * self._step_s)
        if len(self.spans) > MOST:
            self.spans = folded(self.spans, (MOST + 1) // 2)
            self._step_s *= 2
            self._began_s = at_s - (len(self.spans) - 1) * self._step_s

    def clear(self) -> None:
        """Forget everything."""
        self.spans.clear()
        self._step_s = FIRST_S


def joined(spans: Sequence[SeriesSpan]) -> SeriesSpan:
    """Several spans as one."""
    return SeriesSpan(max(span.value for span in spans), sum(span.evictions for span in spans))


def folded(spans: Sequence[SeriesSpan], most: int) -> list[SeriesSpan]:
    """The same history in at most `most` spans: groups of neighbours, nearly equal in number, become one each."""
    n = min(most, len(spans))
    if n <= 0:
        return []
    cuts = [index * len(spans) // n for index in range(n + 1)]
    return [joined(spans[a:b]) for a, b in itertools.pairwise(cuts)]


def marks(evicted: Iterable[bool]) -> str:
    """The line under the bars: a mark where tokens were evicted."""
    return "".join("^" if each else " " for each in evicted)
