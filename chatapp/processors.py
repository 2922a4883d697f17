"""The processors that this process may use: by its affinity, by the quotas of its container, and by their kind."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from chatapp import cgroups

CPUS = Path("/sys/devices/system/cpu")
PERFORMANCE = Path("/sys/devices/cpu_core/cpus")
"""Linux lists the performance cores of a hybrid Intel processor here."""
INTERVAL_S = 0.25
"""How often the idle time is read: that takes a tenth of a millisecond."""
_APPLE = ("/usr/sbin/sysctl", "-n", "hw.perflevel0.physicalcpu")


@dataclass(frozen=True, slots=True)
class Processors:
    """Numbers of threads, at least 1."""

    most: int
    """That run at the same time without sharing a core, within affinity and quota."""
    fast: int
    """Of these, those on performance cores; as many as `most` where all are of one kind."""


def usable(membership: Path = cgroups.MEMBERSHIP, mount: Path = cgroups.MOUNT, cpus: Path = CPUS) -> Processors:
    """The processors of this process at this moment."""
    allowed = _affinity()
    # Both threads of a single core: the second one sped decodes up by a third when measured.
    most = max(_cores(allowed, cpus), min(len(allowed), 2))
    quota = _quota(membership, mount)
    if quota is not None:
        most = min(most, max(1, int(quota)))
    return Processors(most, max(1, min(most, _fast(allowed, cpus) or most)))


def _affinity() -> frozenset[int]:
    if sys.platform == "linux":
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _cores(allowed: frozenset[int], cpus: Path) -> int:
    """How many physical cores the allowed processors are."""
    if sys.platform != "linux":
        return psutil.cpu_count(logical=False) or len(allowed)
    siblings = {_read(cpus / f"cpu{number}/topology/thread_siblings_list") or str(number) for number in allowed}
    return len(siblings)


def _fast(allowed: frozenset[int], cpus: Path) -> int | None:
    """How many of them are performance cores; None where there is one kind only, or none is told."""
    if sys.platform == "darwin":
        try:
            done = subprocess.run(_APPLE, capture_output=True, text=True, check=False, timeout=2)
            return int(done.stdout)
        except (OSError, subprocess.SubprocessError, ValueError):
            return None
    listed = _read(PERFORMANCE)
    if listed:
        return _cores(allowed & _numbers(listed), cpus) or None
    capacities = {number: _read(cpus / f"cpu{number}/cpu_capacity") for number in allowed}
    known = {number: int(told) for number, told in capacities.items() if told is not None and told.isdigit()}
    if len(set(known.values())) < 2:
        return None
    return sum(capacity == max(known.values()) for capacity in known.values())


def _numbers(listed: str) -> frozenset[int]:
    """ "0-3,8" as Linux writes a set of processors."""
    found: set[int] = set()
    for part in listed.split(","):
        first, _, last = part.partition("-")
        if first.isdigit() and (last.isdigit() or not last):
            found |= set(range(int(first), int(last or first) + 1))
    return frozenset(found)


def _quota(membership: Path, mount: Path) -> float | None:
    """Processors that the tightest group around the process grants; None where none limits them."""
    quotas: list[float] = []
    for group in cgroups.folders("", membership, mount):
        told = (_read(group / "cpu.max") or "").split()
        if len(told) == 2 and told[0].isdigit() and told[1].isdigit() and int(told[1]):
            quotas.append(int(told[0]) / int(told[1]))
    for group in cgroups.folders("cpu", membership, mount):
        quota, period = _read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us")
        if quota and period and quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
    return min(quotas, default=None)


def _read(file: Path) -> str | None:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        return None


class Idle:
    """How many of the machine's processors nobody uses."""

    def __init__(self) -> None:
        self._at_s, self._idle_s = time.monotonic(), _idle_s()
        self._now: float | None = None

    def now(self) -> float | None:
        """On average over the last INTERVAL_S or more; None at first, and where the system does not tell."""
        at_s = time.monotonic()
        passed_s = at_s - self._at_s
        if passed_s >= INTERVAL_S:
            before, self._at_s, self._idle_s = self._idle_s, at_s, _idle_s()
            self._now = None if before is None or self._idle_s is None else (self._idle_s - before) / passed_s
        return self._now


def _idle_s() -> float | None:
    try:
        return float(psutil.cpu_times().idle)
    except (OSError, RuntimeError):  # a sandbox may hide it
        return None
