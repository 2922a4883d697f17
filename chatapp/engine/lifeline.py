"""A pipe whose end ends this process, even in the middle of one long C call.

A thread that reads a pipe notices its end only when it gets Python's lock, which a C call may hold for minutes. The
kernel needs no lock: it sends SIGIO, whose default action ends the process.
"""

import fcntl
import os
import select
import signal
import sys


def tie(fd: int) -> None:
    """End this process as soon as the pipe `fd`, of which it is the reader, has no writer left.

    Nothing may ever be written to the pipe: data are a SIGIO too, and one that may come after they were read. On macOS,
    which ignores SIGIO by default, nothing is done.
    """
    if sys.platform == "darwin":
        return
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    fcntl.fcntl(fd, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_ASYNC)
    ended = select.poll()
    ended.register(fd, 0)  # POLLHUP is always reported
    if ended.poll(0):  # before it was tied
        os._exit(0)
