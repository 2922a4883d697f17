"""How much memory this process may still allocate: what is free on the host, within the limits of its control groups.

In a container not all of the machine's free memory is available: beyond the limit of its cgroup the kernel kills the
process.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from chatapp import cgroups
from chatapp.cgroups import MEMBERSHIP, MOUNT
from chatapp.protocol.values import HostMemory

STATUS = Path("/proc/self/status")
INTERVAL_S = 1.0
"""How old the figures of a snapshot may be: reading them takes about a millisecond, and there are ten snapshots a
second."""


@dataclass(frozen=True, slots=True)
class _Version:
    """Where one version of Linux's cgroups reports the limit and the usage of a group."""

    controller: str
    """See `cgroups.folders`."""
    limit: str
    used: str
    cached: str


_VERSIONS = (
    _Version("", "memory.max", "memory.current", "inactive_file"),
    _Version("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> int:
    """Bytes that can be allocated now without swapping and within the limits of all groups around the process."""
    return available_and_limit(membership, mount)[0]


def available_and_limit(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> tuple[int, int]:
    """`available_bytes`, and the limit: the machine's memory, or the tightest limit of a group around the process."""
    memory = psutil.virtual_memory()
    limits = [(memory.available, memory.total), *_group_limits(membership, mount)]
    return min(available for available, _ in limits), min(limit for _, limit in limits)


class Watched:
    """The host's memory, cached and read again after INTERVAL_S."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._read_at = float("-inf")
        self._host: HostMemory | None = None

    def now(self) -> HostMemory:
        """At most INTERVAL_S old."""
        if self._host is None or time.monotonic() - self._read_at >= INTERVAL_S:
            self._host, self._read_at = self._read(), time.monotonic()
        return self._host

    def _read(self) -> HostMemory:
        memory = self._process.memory_info()
        mapped: int | None = getattr(memory, "shared", None)
        available, limit = available_and_limit()
        return HostMemory(
            available_bytes=available,
            limit_bytes=limit,
            swap_used_bytes=_swap_used_bytes(),
            swapped_bytes=swapped_bytes(),
            private_bytes=None if mapped is None else memory.rss - mapped,
        )


def swapped_bytes(status: Path = STATUS) -> int | None:
    """What the system has swapped out of this process; None where it is not reported (outside Linux)."""
    try:
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        return int(fields["VmSwap"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _swap_used_bytes() -> int | None:
    try:
        return psutil.swap_memory().used
    except (OSError, RuntimeError):  # a sandbox may hide it
        return None


def _group_limits(membership: Path, mount: Path) -> Iterator[tuple[int, int]]:
    """The bytes available within each limit, and the limit, from the process's own group up to the root."""
    for version in _VERSIONS:
        for group in cgroups.folders(version.controller, membership, mount):
            found = _limit_of(group, version)
            if found is not None:
                yield found


def _limit_of(group: Path, version: _Version) -> tuple[int, int] | None:
    """The bytes available within a group's limit, and the limit; None where it has none.

    Cached files count as free: the kernel drops them first.
    """
    try:
        limit = (group / version.limit).read_text().strip()
        used = int((group / version.used).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        if limit == "max":
            return None
        return max(0, int(limit) - used + int(stat.get(version.cached, 0))), int(limit)
    except (OSError, ValueError):
        return None
