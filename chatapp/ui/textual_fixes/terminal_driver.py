"""Textual's driver, made to survive a terminal that is closed or disconnected, and the signals of shells.

In Textual 8.2.8 the first write that fails ends the thread that writes, and thirty writes later the whole program
waits for it. A read that fails is a traceback. And after a SIGCONT without a stop, as shells send with a
SIGTERM, it sets up the terminal once more, so that at the end it restores its own settings instead of the earlier ones.

It can be removed when Textual's own driver survives a closed terminal and a SIGCONT without a stop.
"""

import errno
import os

from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message


class TerminalLost(Message):
    """The terminal is gone."""


class TerminalWriter(WriterThread):
    """Writes to /dev/null once the terminal is gone."""

    def run(self) -> None:
        """See WriterThread."""
        try:
            super().run()
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            os.dup2(os.open(os.devnull, os.O_WRONLY), self.fileno())
            super().run()


class TerminalDriver(LinuxDriver):
    """Tells the app when the terminal is gone, and sets the terminal up again only after it was suspended."""

    _suspended = False

    def run_input_thread(self) -> None:
        """See LinuxDriver."""
        try:
            super().run_input_thread()
        except OSError:
            self._app.post_message(TerminalLost())

    def suspend_application_mode(self) -> None:
        """See LinuxDriver."""
        super().suspend_application_mode()
        self._suspended = True

    def resume_application_mode(self) -> None:
        """See LinuxDriver."""
        if self._suspended:
            self._suspended = False
            super().resume_application_mode()


def terminal_driver(driver: type[Driver]) -> type[Driver]:
    """This driver in place of Textual's for Unix terminals."""
    if driver is not LinuxDriver:
        return driver
    linux_driver.WriterThread = TerminalWriter  # pyright: ignore[reportPrivateImportUsage] - its only way in
    return TerminalDriver
