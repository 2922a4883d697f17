"""How many threads decode next: decided from the times of the decodes before, and from nothing else.

llama.cpp's threads wait for each other after every operation, some 900 times a token. Where another program has one of
the cores, they wait for a thread that does not run: two threads on two cores then decode at a tenth of the speed of one
(docs/decisions/0006). So the number is tried out all the time, but seldom: a trial may cost BUDGET of the time.
"""

from collections import deque
from dataclasses import dataclass
from itertools import takewhile
from statistics import median

BUDGET = 0.01
"""The share of the time that unsuccessful trials may cost."""
GAIN = 0.97
"""Another number is taken where it needs less than this share of the time: below that it may be noise."""
JUMP = 1.4
"""A decode that takes so many times as long, several times in a row, is no noise: something has changed."""
HOPELESS = 3.0
"""A trial that takes so many times as long ends at once."""
LEAST_WAIT_S = 0.5
"""Between two trials in one direction."""
MOST_WAIT_S = 20.0
REACHES = 3
"""How far a trial reaches: to the next step, halfway to the end, to the end."""
IDLE, BUSY = 0.6, 0.35
"""Processors that nobody uses: from this many on there is one to spare, and below that there is none."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How many decodes are looked at."""

    window: int
    trial: int
    jump: int


TOKENS = Effort(window=8, trial=5, jump=3)
CHUNKS = Effort(window=2, trial=1, jump=2)


def steps(most: int) -> tuple[int, ...]:
    """The numbers that are tried, of 1 to `most`: about half as many again each, and all but one or two."""
    sizes = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256]
    return tuple(sorted({*takewhile(lambda n: n < most, sizes), max(1, most - 2), max(1, most - 1), most}))


class ThreadChoice:
    """The number of threads for one kind of decode."""

    def __init__(self, most: int, start: int, effort: Effort = TOKENS) -> None:
        """At most `most`, and `start` at first."""
        self._steps = steps(most)
        self._settled = max(i for i, n in enumerate(self._steps) if n <= max(1, start))
        self._effort = effort
        self._times: deque[float] = deque(maxlen=effort.window)
        self._usual: float | None = None
        """Seconds of one decode with the settled number."""
        self._trial: int | None = None
        """The index of the step that is on trial."""
        self._tried: list[float] = []
        self._clock_s = 0.0
        """Time spent in decodes: a pause between two replies brings no trial nearer."""
        self._wait_until = {1: 0.0, -1: 0.0}
        self._failures = {1: 0, -1: 0}
        self._urgent = REACHES
        """Trials that follow each other without a wait, since something has changed."""
        self._idle = 0.0

    @property
    def n(self) -> int:
        """The number for the next decode."""
        return self._steps[self._settled if self._trial is None else self._trial]

    @property
    def settled(self) -> int:
        """The number that was the fastest so far, whatever is on trial."""
        return self._steps[self._settled]

    def took(self, seconds: float, idle: float | None = None) -> None:
        """The next decode took so long; `idle` processors were used by nobody lately, None where that is not known."""
        spare = idle is not None and idle >= IDLE > BUSY >= self._idle
        self._idle = self._idle if idle is None else idle
        self._clock_s += seconds
        if spare:
            self._wait_until[1], self._failures[1] = 0.0, 0
        if self._trial is None:
            self._watch(seconds)
        else:
            self._judge(seconds, self._trial)

    def _watch(self, seconds: float) -> None:
        self._times.append(seconds)
        recent = list(self._times)[-self._effort.jump :]
        if self._usual is not None and len(recent) == self._effort.jump:
            if min(recent) > JUMP * self._usual:
                self._changed(min(recent))
                if self._begin(-1) or self._begin(1):
                    return
            elif max(recent) * JUMP < self._usual:
                self._changed(max(recent))
        if len(self._times) < self._effort.window:
            return
        now = median(self._times)
        self._usual = now if self._usual is None else self._usual + 0.1 * (now - self._usual)
        for direction in (1, -1):
            if self._clock_s >= self._wait_until[direction] and self._begin(direction):
                return

    def _changed(self, seconds: float) -> None:
        self._usual = seconds
        self._wait_until, self._failures = {1: 0.0, -1: 0.0}, {1: 0, -1: 0}
        self._urgent = REACHES

    def _begin(self, direction: int) -> bool:
        """Try the next step in that direction; after a failure one halfway to the end, then the last one."""
        end = len(self._steps) - 1 if direction > 0 else 0
        match self._failures[direction] % REACHES:
            case 0:
                target = self._settled + direction
            case 1:
                target = (self._settled + end) // 2
            case _:
                target = end
        if target == self._settled or not 0 <= target < len(self._steps):
            return False
        self._trial, self._tried = target, []
        self._times.clear()
        return True

    def _judge(self, seconds: float, trial: int) -> None:
        assert self._usual is not None, "a trial begins when the usual time is known"
        self._tried.append(seconds)
        hopeless = seconds > HOPELESS * self._usual
        if len(self._tried) < self._effort.trial and not hopeless:
            return
        direction, self._trial = 1 if trial > self._settled else -1, None
        now = median(self._tried)
        if not hopeless and now < GAIN * self._usual:
            self._settled, self._usual = trial, now
            self._failures[direction], self._wait_until[direction] = 0, self._clock_s
            self._failures[-direction], self._wait_until[-direction] = 0, self._clock_s + LEAST_WAIT_S
            return
        lost_s = max(0.0, sum(self._tried) - len(self._tried) * self._usual)
        patience = LEAST_WAIT_S * 2 ** min(self._failures[direction], 5)
        self._failures[direction] += 1
        self._wait_until[direction] = self._clock_s + min(MOST_WAIT_S, max(patience, lost_s / BUDGET))
        self._urgent -= 1
        if self._urgent > 0:
            self._begin(direction)
