"""The program is ended at random moments in random ways, at random sizes: what was sent stays, and nothing lives on."""

import signal
import time
from pathlib import Path

import psutil

from tests.e2e.reading import AT_LENGTH, ready, stored
from tests.e2e.terminal import Home, Terminal, eventually
from tests.e2e.wire import modes
from tests.robustness.tries import Try, tries

ENDS = ("SIGTERM", "SIGHUP", "SIGQUIT", "SIGINT", "SIGKILL", "hang up", "ctrl+q")
GRACE_S = 2.0
"""How long any ending may take on an idle machine."""
BUSY = 5
"""A test machine that is shared may take this many times as long."""


def test_whatever_ends_it_nothing_is_lost_or_left(tmp_path: Path) -> None:
    """One conversation goes on through all of it: each time there is what was said before, and one message more."""
    home = Home(tmp_path / "home")
    sent: list[str] = []
    for number, attempt in enumerate(tries("endings", 5)):
        columns, rows = attempt.randint(40, 130), attempt.randint(12, 40)
        resumed = ["--resume"] if sent else []
        how = attempt.choice(ENDS)
        nohup = how != "SIGHUP" and attempt.random() < 0.3  # as `nohup` has it: a hangup alone means nothing then
        with Terminal(home, *AT_LENGTH, *resumed, columns=columns, rows=rows, nohup=nohup) as terminal:
            if attempt.random() < 0.25:
                eventually(lambda terminal=terminal: 1049 in modes(terminal.raw))  # before, a key is the shell's
                time.sleep(attempt.random())
            else:
                terminal.wait_for(ready)
                message = f"Write about number {number}."
                terminal.type(f"{message}\r")
                eventually(lambda message=message: message in [said.text for said in stored(home)])
                sent.append(message)
                _resize(terminal, attempt)
                time.sleep(attempt.random())
            engines = terminal.engines()
            print(f"{attempt}: {columns}x{rows}, {how}")
            code = _end(terminal, how)
            label = f"{attempt}: {how}, exit code {code}"
            assert psutil.wait_procs(engines, BUSY * GRACE_S)[1] == [], label
            if how == "ctrl+q":
                assert code == 0, label
            elif how == "SIGKILL":
                assert code == -signal.SIGKILL, label
            else:
                assert code == 128 + (signal.SIGHUP if how == "hang up" else signal.Signals[how]), label
            if how not in ("SIGKILL", "hang up"):
                assert modes(terminal.raw) == {7, 25}, label
                assert terminal.echo, label
        if sent:
            assert [said.text for said in stored(home) if said.role == "user"] == sent, label


def _resize(terminal: Terminal, attempt: Try) -> None:
    for _ in range(attempt.randint(0, 6)):
        terminal.resize(attempt.randint(2, 130), attempt.randint(2, 40))
        time.sleep(attempt.random() * 0.2)


def _end(terminal: Terminal, how: str) -> int:
    if how == "hang up":
        terminal.hang_up()
    elif how == "ctrl+q":
        terminal.press("ctrl+q")
    else:
        terminal.process.send_signal(signal.Signals[how])
    return terminal.exit_code(within_s=BUSY * GRACE_S)
