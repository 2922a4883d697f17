"""How much of the host's memory this process may still take: what is free, within the limits of its control groups.

In a container the machine's free memory is not the process's: past the limit of its cgroup the kernel ends it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MOUNT = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class _Version:
    """Where one version of Linux's cgroups says what a group may take, and what it took."""

    controller: str
    """As it stands between the colons of a line `N:controller:/path` in /proc/self/cgroup."""
    folder: str
    limit: str
    used: str
    cached: str


_VERSIONS = (
    _Version("", "", "memory.max", "memory.current", "inactive_file"),
    _Version("memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
)


def available_bytes(membership: Path = MEMBERSHIP, mount: Path = MOUNT) -> int:
    """Bytes that can be taken now without swapping and without meeting a limit of a group around the process."""
    return min([psutil.virtual_memory().available, *_left(membership, mount)])


def _left(membership: Path, mount: Path) -> Iterator[int]:
    """What each limit leaves, from the process's own group up to the root."""
    try:
        lines = [line.split(":", 2) for line in membership.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return
    for version in _VERSIONS:
        for path in (line[2] for line in lines if len(line) == 3 and version.controller == line[1]):
            # In a container the path may be the host's, and the mount's root the group itself: no file, then a file.
            for group in (Path(path), *Path(path).parents):
                left = _left_in(mount / version.folder / str(group).lstrip("/"), version)
                if left is not None:
                    yield left


def _left_in(group: Path, version: _Version) -> int | None:
    """What a group's limit leaves; None where it has none. Cached files count as free: the kernel drops them first."""
    try:
        limit = (group / version.limit).read_text().strip()
        used = int((group / version.used).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return None if limit == "max" else max(0, int(limit) - used + int(stat.get(version.cached, 0)))
    except (OSError, ValueError):
        return None
