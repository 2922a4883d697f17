"""The screen at every size and in every terminal: a wide one, the classic one, a tiny one; few colours, or none."""

import re
import signal
import time
from collections.abc import Callable

import psutil
import pytest

from tests.e2e.reading import AT_LENGTH, BRIEF, STORY, begun, chat, figures, map_cells, ready, reply, say, says, stored
from tests.e2e.terminal import Home, Terminal, eventually, without


def test_sizes_while_a_reply_streams(home: Home) -> None:
    """The inspector folds into a line and opens with its key; nothing is lost in a terminal that is far too small."""
    with Terminal(home, *AT_LENGTH) as terminal:
        terminal.wait_for(ready, "▾ Window", without("▐sinks"))
        terminal.type(f"{STORY}\r")
        terminal.wait_for(begun(1), " replying ")

        terminal.resize(80, 24)
        folded = re.compile(r"^ ▐sinks 21▌ .* \d+/2,048 ", re.MULTILINE)
        terminal.wait_for(folded, without("▾ Window"), begun(1))
        terminal.press("f2")
        used = figures(terminal.wait_for("▾ Window", re.compile("evicted +0 turns.* 0 shifts", re.DOTALL))).used
        terminal.wait_for(lambda screen: figures(screen).used > used)
        terminal.press("escape")  # closes what lies over the chat, and does not stop the reply
        terminal.wait_for(without("▾ Window"), folded, re.compile(r"^ replying ", re.MULTILINE))

        terminal.resize(20, 5)
        terminal.wait_for(lambda screen: screen.splitlines()[-1].startswith(" replying"))
        terminal.type("tiny")
        terminal.wait_for(lambda screen: "tiny" in screen.splitlines()[-2])
        terminal.press("f1")
        terminal.wait_for("Keys and")
        terminal.press("escape")
        terminal.wait_for(without("Keys and"))

        terminal.resize(120, 36)
        terminal.wait_for("▾ Window", "│ tiny", says(r"Model  1"))
        terminal.press("escape")
        terminal.wait_for(ready, " · stopped")
        words = stored(home)[1].text.split()
        assert len(words) > 10
        # The edge of a message and the blanks at line ends fall away.
        terminal.wait_for(lambda screen: " ".join(words[-30:]) in re.sub(r"[\s▌]+", " ", chat(screen)))


def test_the_smallest_terminal_from_the_start(home: Home) -> None:
    """Started in 20x5 it answers too."""
    with Terminal(home, *BRIEF, columns=20, rows=5) as terminal:
        terminal.wait_for(ready)
        terminal.type("Hello\r")
        terminal.wait_for(lambda screen: not ready(screen))
        terminal.wait_for(ready)
        terminal.resize(100, 30)
        reply(terminal, 1)


def divided_at(column: int) -> Callable[[str], bool]:
    """A question for `wait_for`: the inspector begins there, in every row."""
    return lambda screen: {line.find("▏") for line in screen.splitlines()[:-1]} == {column}


def test_a_terminal_that_changes_its_size_while_the_chat_starts(home: Home) -> None:
    """As a window manager does that lays out a new window: the last size is drawn, and the keys work.

    What the shell has exported of a size means nothing, and a job that comes back to the foreground draws everything.
    """
    exported = {"COLUMNS": "60", "LINES": "14"}
    with Terminal(home, *BRIEF, columns=100, rows=30, variables=exported) as terminal:
        for step in range(13):
            time.sleep(0.15)
            terminal.resize(80 + step * 7 % 40 + step, 20 + step)
        terminal.resize(110, 25)
        terminal.type("hello")
        terminal.wait_for(ready, "│ hello", divided_at(110 - 42), within_s=20)

        terminal.process.send_signal(signal.SIGTSTP)
        eventually(lambda: terminal.process.status() == psutil.STATUS_STOPPED)
        terminal.clear()
        terminal.process.send_signal(signal.SIGCONT)
        terminal.wait_for(ready, "│ hello", divided_at(110 - 42), within_s=20)
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0


def test_without_colour_kinds_are_told_apart_by_letters_and_shades(home: Home) -> None:
    """NO_COLOR: nothing on the screen has a hue, and the map is read by its characters."""
    with Terminal(home, *BRIEF, variables={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for(ready)
        for turn in (1, 2):
            say(terminal, f"Hello, this is message number {turn}.", turn)
        terminal.wait_for("S sink █▒ you ▓░ reply")
        assert {"S", "█", "▓", "▒", "░", "·", ">"} <= {cell.data for cell in map_cells(terminal)}
        for row in range(36):
            for cell in terminal.cells(row):
                for colour in (cell.fg, cell.bg):
                    assert colour == "default" or colour[:2] == colour[2:4] == colour[4:], (row, cell)


@pytest.mark.parametrize("theme", ["swachat-dark", "terminal"])
def test_sixteen_colours(home: Home, theme: str) -> None:
    """Only the sixteen are used, and kinds can be told apart: by colour in the theme that is made for it."""
    with Terminal(home, *BRIEF, "--theme", theme, variables={"TERM": "xterm", "COLORTERM": None}) as terminal:
        terminal.wait_for(ready)
        for turn in (1, 2):
            say(terminal, f"Hello, this is message number {turn}.", turn)
        kinds = {(cell.data, cell.fg) for cell in map_cells(terminal)}
        if theme == "terminal":
            assert {("█", "brown"), ("█", "blue"), ("▓", "blue"), ("█", "green"), ("▓", "green")} <= kinds
        else:
            assert {"S", "█", "▓", "▒", "░", "·", ">"} <= {data for data, _ in kinds}
        numbers = {
            int(each) for each in re.findall(r"\d+", " ".join(re.findall(r"\x1b\[([\d;]+)m", terminal.raw.decode())))
        }
        assert numbers.isdisjoint({38, 48})
