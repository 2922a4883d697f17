"""A terminal that goes away under the program, and signals of shells that follow no stop."""

import os
import pty
import time
from collections.abc import Callable

import pytest
from textual.drivers.headless_driver import HeadlessDriver
from textual.drivers.linux_driver import LinuxDriver

from chatapp.ui.textual_fixes.terminal_driver import TerminalDriver, TerminalWriter, terminal_driver


def test_only_the_driver_of_unix_terminals_is_replaced() -> None:
    assert terminal_driver(HeadlessDriver) is HeadlessDriver
    assert terminal_driver(LinuxDriver) is TerminalDriver


def test_what_is_written_to_a_closed_terminal_goes_nowhere_and_nobody_waits() -> None:
    """Textual's own thread ends at the first write that fails, and the thirtieth write after it waits for good."""
    controller, terminal = pty.openpty()
    with os.fdopen(terminal, "w") as file:
        writer = TerminalWriter(file)
        writer.start()
        os.close(controller)
        began = time.monotonic()
        for _ in range(100):
            writer.write("x" * 100)
        writer.stop()
        assert not writer.is_alive()
    assert time.monotonic() - began < 60


def test_the_terminal_is_taken_over_again_only_where_it_was_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []

    def note(what: str) -> Callable[[LinuxDriver], None]:
        def noted(_: LinuxDriver) -> None:
            done.append(what)

        return noted

    monkeypatch.setattr(LinuxDriver, "suspend_application_mode", note("given back"))
    monkeypatch.setattr(LinuxDriver, "resume_application_mode", note("taken over"))
    driver = TerminalDriver.__new__(TerminalDriver)
    driver.resume_application_mode()
    assert done == []
    driver.suspend_application_mode()
    driver.resume_application_mode()
    driver.resume_application_mode()
    assert done == ["given back", "taken over"]
