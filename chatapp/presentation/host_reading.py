"""The host's memory while the engine is idle: the engine reports it only with its work, and other programs may take it
meanwhile.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from chatapp.protocol.values import HostMemory

EVERY_S = 10.0
"""How often it is read while the engine is idle."""

ReadMemory = Callable[[int], tuple[HostMemory, int] | None]
"""From the engine's process id to the host's memory, and the engine's resident bytes; None if unknown."""


@dataclass(frozen=True, slots=True)
class HostReading:
    """The memory at a time (`at_s`, Unix time), read by the interface, not reported by the engine."""

    at_s: float
    host: HostMemory
    resident_bytes: int
    """Of the engine's process."""


def read_memory(pid: int) -> tuple[HostMemory, int] | None:
    """A `ReadMemory` for this machine: takes under a millisecond, except for an import the first time."""
    import psutil

    from chatapp.host_memory import available_and_limit, swapped_bytes

    own = Path(f"/proc/{pid}")
    try:
        memory = psutil.Process(pid).memory_info()
        available, limit = available_and_limit(membership=own / "cgroup")
    except (psutil.Error, OSError):  # it has ended
        return None
    swap_used: int | None = None
    with suppress(OSError, RuntimeError):  # a sandbox may hide it
        swap_used = psutil.swap_memory().used
    mapped: int | None = getattr(memory, "shared", None)
    host = HostMemory(
        available_bytes=available,
        limit_bytes=limit,
        swap_used_bytes=swap_used,
        swapped_bytes=swapped_bytes(own / "status"),
        private_bytes=None if mapped is None else memory.rss - mapped,
    )
    return host, memory.rss
