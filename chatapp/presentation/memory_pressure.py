"""Whether the host's memory is about to run out, reported before the system swaps or kills a process.

Pure: from one reading to the next. The level rises at once and falls late, so that it does not flicker.
"""

from dataclasses import dataclass, replace
from enum import IntEnum

from chatapp.presentation.format import duration, size
from chatapp.presentation.host_reading import HostReading
from chatapp.presentation.notices import Notice
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Loaded, Snapshot, Started
from chatapp.protocol.values import HostMemory

MIB = 1 << 20
CALM_S = 10.0
"""How long memory must be sufficient before a warning ends."""
RELEASE = 1.5
"""A warning can end only when this many times the memory that raised it is available."""
ANCHOR_S = 10.0
"""The time over which growth is measured."""
HORIZON_S = 60.0
"""Growth beyond the plan that would fill the memory within this time is a warning; within a third of it, critical."""
SWAPPED_BYTES = 64 * MIB
"""What may go to swap within ANCHOR_S without a warning."""
OTHERS = 4
"""Swapping by other processes counts only if less than this many times the warning threshold is available: in a
container it may be a neighbour's."""
KEY = "pressure"
"""The key of the notice."""


class Severity(IntEnum):
    """How severe the pressure is."""

    NONE = 0
    LOW = 1
    CRITICAL = 2


@dataclass(frozen=True, slots=True)
class Reading:
    """The host's memory at a time, and how much of it the engine was planned to use (None if unknown)."""

    at_s: float
    host: HostMemory
    planned_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Pressure:
    """The pressure after the readings so far. `why` is a clause about the newest reading that showed any."""

    level: Severity = Severity.NONE
    why: str = ""
    _anchor: Reading | None = None
    """The reading that growth is measured from."""
    _growth: float = 0.0
    """Of the engine's own memory, in bytes a second."""
    _swapped: int = 0
    """Bytes of the engine that went to swap since the anchor, or between the last two."""
    _swapped_anywhere: int = 0
    """The same of the whole machine."""
    _calm_since_s: float | None = None

    def next(self, reading: Reading) -> "Pressure":
        """The pressure after one more reading."""
        state = self._measured(reading)
        level, why = state._judge(reading, 1.0)
        if level >= self.level:
            return replace(state, level=level, why=why, _calm_since_s=None)
        lower, _ = state._judge(reading, RELEASE)
        if lower >= self.level:
            return replace(state, _calm_since_s=None)
        since = self._calm_since_s if self._calm_since_s is not None else reading.at_s
        if reading.at_s - since < CALM_S:
            return replace(state, _calm_since_s=since)
        return replace(state, level=lower, why=state._judge(reading, RELEASE)[1], _calm_since_s=None)

    @property
    def notice(self) -> Notice:
        """The notice for a change to this level."""
        match self.level:
            case Severity.NONE:
                return Notice("info", "There is enough memory again.", KEY)
            case Severity.LOW:
                todo = "Close other programs, or restart with a smaller --ctx, before the system swaps."
                return Notice("warning", f"Memory is low: {self.why}. {todo}", KEY)
            case Severity.CRITICAL:
                todo = "The system may kill the engine; the conversation is stored. Close other programs."
                return Notice("error", f"Memory is nearly full: {self.why}. {todo}", KEY)

    def _measured(self, reading: Reading) -> "Pressure":
        """With the growth since the anchor, if that is long enough ago."""
        if self._anchor is None:
            return replace(self, _anchor=reading)
        seconds = reading.at_s - self._anchor.at_s
        now, before = reading.host, self._anchor.host
        swapped = _grown(now.swapped_bytes, before.swapped_bytes)
        anywhere = _grown(now.swap_used_bytes, before.swap_used_bytes)
        if seconds < ANCHOR_S:
            return replace(
                self,
                _swapped=max(self._swapped, swapped),
                _swapped_anywhere=max(self._swapped_anywhere, anywhere),
            )
        growth = _grown(now.private_bytes, before.private_bytes) / seconds
        return replace(self, _anchor=reading, _growth=growth, _swapped=swapped, _swapped_anywhere=anywhere)

    def _judge(self, reading: Reading, times: float) -> tuple[Severity, str]:
        """How severe this reading is with the thresholds multiplied by `times`; and why."""
        available, limit = reading.host.available_bytes, reading.host.limit_bytes
        low = least_bytes(limit)
        if available < times * low:
            level = Severity.CRITICAL if available < times * low / 3 else Severity.LOW
            return level, f"only {size(available)} of {size(limit)} is available"
        own, planned = reading.host.private_bytes, reading.planned_bytes
        unplanned = own is not None and (planned is None or own > planned)
        full_s = available / self._growth if self._growth > 0 and unplanned else float("inf")
        if full_s < times * HORIZON_S:
            level = Severity.CRITICAL if full_s < times * HORIZON_S / 3 else Severity.LOW
            end = f"will use the remaining {size(available)} in {duration(full_s)}"
            return level, f"the engine is growing beyond its plan, and {end}"
        if self._swapped >= SWAPPED_BYTES / times:
            return Severity.LOW, f"the system has moved {size(self._swapped)} of the engine to swap"
        if self._swapped_anywhere >= SWAPPED_BYTES / times and available < times * OTHERS * low:
            return (
                Severity.LOW,
                f"the system has moved {size(self._swapped_anywhere)} to swap, and only {size(available)} is available",
            )
        return Severity.NONE, ""


class MemoryWatch:
    """Tracks the memory pressure around one engine; nothing else does.

    Its owner passes on every event, and its own readings while the engine has nothing to report.
    """

    def __init__(self) -> None:
        self.pressure = Pressure()
        self._loaded: Loaded | None = None

    def take(self, news: AnyEvent | HostReading) -> Notice | None:
        """The notice for a person, if the level has changed."""
        match news:
            case Snapshot() | HostReading():
                before, reading = self.pressure.level, reading_of(news, self._loaded)
                if reading is not None:
                    self.pressure = self.pressure.next(reading)
                return self.pressure.notice if self.pressure.level != before else None
            case Started() | Loaded():  # earlier readings are about another process or another plan
                self.pressure = Pressure()
                self._loaded = news if isinstance(news, Loaded) else None
                return None
            case _:
                return None


def reading_of(memory: Snapshot | HostReading, loaded: Loaded | None) -> Reading | None:
    """The figures of the host's memory together with the plan; None if there are none."""
    if memory.host is None:
        return None
    planned = loaded.planned if loaded is not None else None
    sizes = () if planned is None else (planned.weights_bytes, planned.kv_bytes, planned.compute_bytes)
    known = [size for size in sizes if size is not None]
    total = sum(known) + ((planned.kv_swa_bytes if planned is not None else None) or 0)
    return Reading(memory.at_s, memory.host, total if sizes and len(known) == len(sizes) else None)


def least_bytes(limit_bytes: int) -> int:
    """How much should be available: a twelfth of the memory, at least 256 MiB and at most 1.5 GiB.

    >>> least_bytes(8192 * MIB) // MIB, least_bytes(1024 * MIB) // MIB
    (682, 256)
    """
    return min(max(limit_bytes // 12, 256 * MIB), 1536 * MIB)


def _grown(now: int | None, before: int | None) -> int:
    """The increase; 0 if either figure is unknown."""
    return 0 if now is None or before is None else max(0, now - before)
