"""Drives the real program in a pseudo-terminal, as a person does: keys go in, a screen comes out.

Nothing here sleeps for a time that was guessed: everything waits for what should appear, and says what was there
instead when it does not.
"""

import os
import re
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

import pexpect
import psutil
import pyte
from pyte.screens import Char

from tests.e2e.wire import foreign_controls, plain

PROGRAM = Path(sys.executable).with_name("swachat")
PATIENCE_S = 120.0
"""How long a screen may take to come: a busy machine replies with a few tokens a second."""
LOOK_EVERY_S = 0.05
END_S = 30.0
"""How long processes may take to end."""

KEYS = {
    "enter": "\r",
    "alt+enter": "\x1b\r",
    "shift+enter": "\x1b[13;2u",
    "escape": "\x1b",
    "tab": "\t",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "f1": "\x1bOP",
    "f2": "\x1bOQ",
    "f3": "\x1bOR",
    "f4": "\x1bOS",
    "f5": "\x1b[15~",
    "f9": "\x1b[20~",
    "shift+f2": "\x1b[1;2Q",
    "alt+left": "\x1b[1;3D",
    "alt+right": "\x1b[1;3C",
}

Wanted = str | re.Pattern[str] | Callable[[str], bool]
"""A part of the screen's text, a pattern in it, or a question about it."""


class Home:
    """A home of a test's own, and the environment that puts the program into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / ".config/swachat/config.yaml"
        self.themes = folder / ".config/swachat/themes"
        self.store = folder / ".local/share/swachat/swachat.db"

    def environment(self, changes: Mapping[str, str | None]) -> dict[str, str]:
        """That of the tests with this home in it; the cache folder is shared. None takes a variable away."""
        values = {
            **os.environ,
            "HOME": str(self.folder),
            "XDG_CONFIG_HOME": str(self.folder / ".config"),
            "XDG_DATA_HOME": str(self.folder / ".local/share"),
            "XDG_STATE_HOME": str(self.folder / ".local/state"),
            **changes,
        }
        return {name: value for name, value in values.items() if value is not None}


class Terminal:
    """The program on a screen of `columns` by `rows`; used as a context manager, it leaves no process behind.

    A thread of its own reads what the program writes, so that the program never waits for the test.
    """

    def __init__(
        self,
        home: Home,
        *words: str,
        columns: int = 120,
        rows: int = 36,
        variables: Mapping[str, str | None] = {},
        nohup: bool = False,
    ) -> None:
        """Start `swachat WORDS`; `variables` are changes to its environment. With `nohup` it ignores SIGHUP."""
        # pexpect has no types.
        self._child: Any = pexpect.spawn(
            str(PROGRAM),
            list(words),
            env=home.environment(variables),
            dimensions=(rows, columns),
            ignore_sighup=nohup,
        )
        self.process = psutil.Process(self._child.pid)
        self._engines: set[psutil.Process] = set()
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._raw = bytearray()
        self._text: str | None = None
        self._news = threading.Condition(threading.RLock())
        self._ended = False
        self._hung_up = False
        self.echo = False
        """Whether the terminal was left echoing what is typed, as a shell needs it; known after `exit_code`."""
        self._reader = threading.Thread(target=self._read, name="terminal", daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.engines()
        if not self._ended:
            self.process.kill()
        self.exit_code()
        left = psutil.wait_procs(list(self._engines), END_S)[1]
        for engine in left:
            engine.kill()
        if kind is None:
            assert not left, "an engine was left behind"
            # What must hold of every run, whatever it was about.
            foreign = foreign_controls(self.raw)
            assert not foreign, foreign
            assert "Traceback" not in plain(self.raw)
            assert "map is wrong" not in plain(self.raw)

    def _read(self) -> None:
        while True:
            # Not in `os.read`, which would keep the terminal open after it is closed.
            while not self._hung_up and not select.select([self._child.child_fd], [], [], LOOK_EVERY_S)[0]:
                pass
            if self._hung_up:
                return
            try:
                data = os.read(self._child.child_fd, 65536)
            except OSError:  # the program has closed its side
                data = b""
            with self._news:
                self._raw += data
                self._stream.feed(data)
                self._text = None
                self._ended = not data
                self._news.notify_all()
            if not data:
                return

    # ----------------------------------------------------------------------- what is there

    @property
    def text(self) -> str:
        """The screen, a line a row, without the blanks at their ends."""
        with self._news:
            if self._text is None:
                self._text = "\n".join(line.rstrip() for line in self._screen.display)
            return self._text

    @property
    def raw(self) -> bytes:
        """All that the program has written."""
        with self._news:
            return bytes(self._raw)

    def cells(self, row: int) -> list[Char]:
        """The cells of a row: `data`, `fg`, `bg` (hexadecimal or a colour's name), `bold` and so on."""
        with self._news:
            line = self._screen.buffer[row]
            return [line[column] for column in range(self._screen.columns)]

    def wait_for(self, *wanted: Wanted, within_s: float = PATIENCE_S) -> str:
        """Wait until the screen has all of it at once; that screen."""
        deadline = time.monotonic() + within_s
        while True:
            with self._news:
                text, ended = self.text, self._ended
                missing = [each for each in wanted if not _holds(each, text)]
                if not missing:
                    return text
                if ended or time.monotonic() > deadline:
                    why = "the program has ended" if ended else f"not within {within_s:g} s"
                    raise AssertionError(f"{why}: {missing}\n{text}")
                self._news.wait(1.0)
            # Outside the lock, and not at each byte: looking costs more than the program needs to draw.
            time.sleep(LOOK_EVERY_S)

    # ----------------------------------------------------------------------- what a person does

    def type(self, text: str) -> None:
        """Type it, all at once."""
        os.write(self._child.child_fd, text.encode())

    def press(self, key: str) -> None:
        """Press one key: a name of KEYS or `ctrl+LETTER`."""
        self.type(KEYS[key] if key in KEYS else chr(ord(key.removeprefix("ctrl+")) & 0x1F))

    def paste(self, text: str) -> None:
        """Paste it, as a terminal with bracketed paste does."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def click(self, part: str) -> None:
        """Click on the first place on the screen where `part` stands."""
        row, line = next((row, line) for row, line in enumerate(self.text.splitlines(), 1) if part in line)
        column = line.index(part) + 1
        self.type(f"\x1b[<0;{column};{row}M\x1b[<0;{column};{row}m")

    def mouse(self, what: str, row: int, column: int) -> None:
        """`press` the left button, `move` with it pressed, or `release` it; row and column are counted from 0."""
        code, end = {"press": (0, "M"), "move": (32, "M"), "release": (0, "m")}[what]
        self.type(f"\x1b[<{code};{column + 1};{row + 1}{end}")

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        with self._news:
            self._screen.resize(rows, columns)
            self._text = None
        self._child.setwinsize(rows, columns)

    def clear(self) -> None:
        """Forget what is on the screen."""
        with self._news:
            self._screen.erase_in_display(2)
            self._text = None

    def hang_up(self) -> None:
        """Close the terminal, as a window is closed or a connection lost."""
        self.engines()
        self._hung_up = True
        self._reader.join()
        self._child.ptyproc.fileobj.close()

    # ----------------------------------------------------------------------- processes

    def engines(self) -> list[psutil.Process]:
        """The engine processes that run now."""
        try:
            found = [child for child in self.process.children() if "chatapp.engine.worker" in child.cmdline()]
        except psutil.NoSuchProcess:
            return []
        self._engines.update(found)
        return found

    def engine(self) -> psutil.Process:
        """The engine, as soon as there is one."""
        eventually(lambda: len(self.engines()) == 1)
        return self.engines()[0]

    def kill(self) -> None:
        """`kill -9` of the program."""
        self.engines()
        self.process.send_signal(signal.SIGKILL)

    def exit_code(self, within_s: float = END_S) -> int:
        """Wait for the program's end; its exit code, or the number of the signal that ended it with a minus."""
        deadline = time.monotonic() + within_s
        self._reader.join(within_s)
        while self._reader.is_alive() or self._child.isalive():
            assert time.monotonic() < deadline, f"the program has not ended:\n{self.text}"
            time.sleep(LOOK_EVERY_S)
        self._ended = True
        if not (self._hung_up or self._child.closed):
            self.echo = self._child.getecho()
        self._child.close()
        return -self._child.signalstatus if self._child.exitstatus is None else self._child.exitstatus


def without(part: str) -> Callable[[str], bool]:
    """A question for `wait_for`: `part` is not on the screen."""
    return lambda text: part not in text


def eventually(holds: Callable[[], bool], within_s: float = PATIENCE_S) -> None:
    """Wait for something that no screen shows."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        time.sleep(LOOK_EVERY_S)


def _holds(wanted: Wanted, text: str) -> bool:
    if isinstance(wanted, str):
        return wanted in text
    if isinstance(wanted, re.Pattern):
        return wanted.search(text) is not None
    return wanted(text)
