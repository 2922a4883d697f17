"""How often to draw: no more often than a frame rate and, where time is to be spared, a share of a processor allow."""

from collections import deque
from statistics import fmean

from chatapp.protocol.events import Loaded
from chatapp.protocol.values import HOST

DRAWING_SHARE = 0.01
"""Of one processor's time, what drawing the inspector may take while a reply comes."""
LONGEST_PAUSE_S = 1.0
"""On a machine so slow that a drawing takes longer than its share of this, the picture stays alive all the same."""
COSTS = 8
"""Drawings whose mean cost counts, but for the dearest: now and then one falls together with other work of the
interface. Their mean, because one that lays out the screen costs five times as much as one that does not."""


def decodes_here(loaded: Loaded | None) -> bool:
    """True where the model decodes on the processors that the interface draws with, or nobody knows where it does.

    A model whose layers are all on a card leaves the host with the words to look up: drawing takes nothing from it.
    """
    if loaded is None or not loaded.on_gpu or not loaded.buffers:
        return True
    here = (each.memory for each in loaded.buffers if each.device == HOST)
    return any(memory.kv_bytes or memory.kv_swa_bytes for memory in here)


class FramePace:
    """Tell it when a drawing began and what it cost; it says how long to wait with the next one. All in seconds."""

    def __init__(self, interval_s: float, share: float = DRAWING_SHARE) -> None:
        self._interval_s = interval_s
        self._share = share
        self._costs_s: deque[float] = deque(maxlen=COSTS)
        self._began_s: float | None = None

    @property
    def sparing_pause_s(self) -> float:
        """From the beginning of one drawing to that of the next, where the processor is needed for something else."""
        costs_s = sorted(self._costs_s)
        cost_s = fmean(costs_s[:-1] or costs_s or [0.0])
        return max(self._interval_s, min(LONGEST_PAUSE_S, cost_s / self._share))

    def wait_s(self, now_s: float, *, sparing: bool) -> float:
        """How long from now."""
        if self._began_s is None:
            return 0.0
        return max(0.0, self._began_s + (self.sparing_pause_s if sparing else self._interval_s) - now_s)

    def begin(self, now_s: float) -> None:
        """A drawing begins."""
        self._began_s = now_s

    def end(self, cost_s: float) -> None:
        """It is on the screen, and took so much processor time: what other programs do is no cost of it."""
        self._costs_s.append(cost_s)
