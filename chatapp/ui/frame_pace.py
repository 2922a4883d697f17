"""How often to draw: within a frame rate and, while the processor is needed, within a share of its time."""

from collections import deque
from statistics import fmean

from chatapp.protocol.events import Loaded
from chatapp.protocol.values import HOST

DRAWING_SHARE = 0.01
"""The share of one processor that drawing the inspector may take during a reply."""
LONGEST_PAUSE_S = 1.0
"""The longest time between two drawings, however slow the machine."""
COSTS = 8
"""How many drawings the mean cost is of, not counting the most expensive one, which may coincide with other work of the
interface. The mean, because a drawing that lays out the screen costs five times as much as one that does not."""


def decodes_here(loaded: Loaded | None) -> bool:
    """True if the model decodes on the processors that the interface draws with, or if that is unknown.

    With all layers on a GPU, the host only looks up embeddings, so drawing slows nothing down.
    """
    if loaded is None or not loaded.on_gpu or not loaded.buffers:
        return True
    here = (each.memory for each in loaded.buffers if each.device == HOST)
    return any(memory.kv_bytes or memory.kv_swa_bytes for memory in here)


class FramePace:
    """From when a drawing began and what it cost, says how long to wait before the next one. All in seconds."""

    def __init__(self, interval_s: float, share: float = DRAWING_SHARE) -> None:
        self._interval_s = interval_s
        self._share = share
        self._costs_s: deque[float] = deque(maxlen=COSTS)
        self._began_s: float | None = None

    @property
    def sparing_pause_s(self) -> float:
        """Between the beginnings of two drawings, while the processor is needed for something else."""
        costs_s = sorted(self._costs_s)
        cost_s = fmean(costs_s[:-1] or costs_s or [0.0])
        return max(self._interval_s, min(LONGEST_PAUSE_S, cost_s / self._share))

    def wait_s(self, now_s: float, *, sparing: bool) -> float:
        """How long to wait from now."""
        if self._began_s is None:
            return 0.0
        return max(0.0, self._began_s + (self.sparing_pause_s if sparing else self._interval_s) - now_s)

    def begin(self, now_s: float) -> None:
        """A drawing begins."""
        self._began_s = now_s

    def end(self, cost_s: float) -> None:
        """The drawing is on the screen and took `cost_s` of processor time, other programs not included."""
        self._costs_s.append(cost_s)
