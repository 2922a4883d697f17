"""Whether processes have ended."""

import time

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
