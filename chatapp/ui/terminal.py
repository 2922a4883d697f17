"""Run an app in the terminal, and end it properly on a signal or when the terminal is gone.

The first signal ends the app as Ctrl+Q does: the reply so far, the layout and the cache are written, the engine is
stopped. A second signal ends it at once.
"""

import asyncio
import os
import signal
import sys
import termios
from collections.abc import Generator
from contextlib import contextmanager, suppress
from time import monotonic
from types import FrameType
from typing import Any

from chatapp.ui.base_app import BaseApp
from chatapp.ui.textual_fixes.terminal_driver import TerminalLost

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM)
SIGNALLED = 128
"""The exit code is this plus the signal's number."""
TWINS_WITHIN_S = 0.1
"""Signals so close together are one request: `timeout` sends each twice, systemd a SIGHUP with the SIGTERM."""
LOOK_EVERY_S = 0.5
"""How often to check that the terminal is still there."""
RESTORED = (
    "\x1b[?2004l\x1b[?7h\x1b[?2048l"  # pastes, wrapping, resizing in band
    "\x1b[?1000l\x1b[?1003l\x1b[?1015l\x1b[?1006l\x1b[?1004l"  # mouse, focus
    "\x1b[<u\x1b[?1049l\x1b[?25h"  # keyboard protocol, first screen, cursor
)
"""Undoes every terminal mode that Textual's driver sets."""


def run(app: BaseApp) -> int:
    """Run the app until it ends; returns the exit code."""
    asyncio.run(_run(app))
    return app.return_code or 0


async def _run(app: BaseApp) -> None:
    terminal = sys.stdin.fileno()
    _look(app, terminal)
    with _ended_by_signals(app, terminal):
        await app.run_async()


def _look(app: BaseApp, terminal: int) -> None:
    """A closed terminal is no longer a tty. SIGHUP would say so too, unless it is ignored (nohup)."""
    if os.isatty(terminal):
        asyncio.get_running_loop().call_later(LOOK_EVERY_S, _look, app, terminal)
    else:
        app.post_message(TerminalLost())


@contextmanager
def _ended_by_signals(app: BaseApp, terminal: int) -> Generator[None]:
    """Within it, signals end the app. One that was ignored when the program started stays ignored."""
    loop = asyncio.get_running_loop()
    attributes = termios.tcgetattr(terminal)
    first: float | None = None

    def handle(number: int, _frame: FrameType | None) -> None:
        # Not on the event loop: it may hang, and the second signal is for that case.
        nonlocal first
        if _in_background(terminal):  # suspended: nothing to restore, and drawing would stop the program again
            os._exit(SIGNALLED + number)
        elif first is None:
            first = monotonic()
            loop.call_soon_threadsafe(app.call_later, app.end, SIGNALLED + number)
        elif monotonic() - first > TWINS_WITHIN_S and (number != signal.SIGHUP or os.isatty(terminal)):
            # The shell and the kernel both send a SIGHUP when the window is closed.
            _restore(terminal, attributes)
            os._exit(SIGNALLED + number)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    caught = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in caught:
        signal.signal(number, handle)
    try:
        yield
    finally:
        for number in caught:
            signal.signal(number, before[number])


def _in_background(terminal: int) -> bool:
    """True if the terminal is there and belongs to another job."""
    try:
        return os.tcgetpgrp(terminal) != os.getpgrp()
    except OSError:
        return False


def _restore(terminal: int, attributes: list[Any]) -> None:
    """Restore the terminal without Textual's threads, which may be deadlocked, and without waiting for the terminal."""
    with suppress(OSError, termios.error):
        termios.tcsetattr(terminal, termios.TCSANOW, attributes)
        # Opened again: O_NONBLOCK on the open file would affect the shell, which shares it.
        opened = os.open(os.ttyname(terminal), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
        os.write(opened, RESTORED.encode())
