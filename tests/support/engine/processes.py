"""Whether processes have ended, and how much memory they take."""

import threading
import time
from typing import Self

import psutil

SOON_S = 2.0


def gone(*pids: int, within_s: float = SOON_S) -> bool:
    """True where the processes end in time; zombies have ended."""
    until = time.monotonic() + within_s
    while any(_lives(pid) for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class PeakMemory:
    """The most memory that this process's descendants take together inside a `with`, beyond what they took before."""

    def __init__(self) -> None:
        self._before = _memory()
        self.bytes = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.1):
            self.bytes = max(self.bytes, _memory() - self._before)


def _memory() -> int:
    total = 0
    for child in psutil.Process().children(recursive=True):
        try:
            total += child.memory_info().rss
        except psutil.Error:
            continue
    return total
