"""Textual's driver, for a terminal that may go away (a window is closed, a connection lost) and for shells' signals.

In Textual 8.2.8 the first write that fails ends the thread that writes, and thirty writes later the whole program
waits for it. A read that fails is a traceback. And a SIGCONT that follows no stop, as shells send it with a SIGTERM,
takes the terminal over once more: what is restored at the end is then what Textual itself has made of it.

It may go when Textual's own driver survives a terminal that is closed under it, and a SIGCONT that follows no stop.
"""

import errno
import os

from textual.driver import Driver
from textual.drivers import linux_driver
from textual.drivers._writer_thread import WriterThread
from textual.drivers.linux_driver import LinuxDriver
from textual.message import Message


class TerminalLost(Message):
    """Nothing can be typed any more."""


class TerminalWriter(WriterThread):
    """Writes to nowhere once the terminal is gone."""

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
    """Tells the app when the terminal is gone, and takes it over again only where it was given back."""

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
    """This one in place of Textual's for the terminals of Unix."""
    if driver is not LinuxDriver:
        return driver
    linux_driver.WriterThread = TerminalWriter  # pyright: ignore[reportPrivateImportUsage] - its only way in
    return TerminalDriver
