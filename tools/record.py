"""The film of the README: the real program in a terminal, on the starter model.

Usage: python -m tools.record [FILE]

Nothing is staged: the model answers with a fixed seed, in a window so small that turns are evicted. Only waiting is
shortened, at the start and while nothing on the screen changes.
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.e2e.reading import begun, ready
from tests.e2e.terminal import Home, Terminal
from tools.film import Frame, film

WORDS = ("starter", "--ctx", "512", "--seed", "11", "--temp", "0.6", "--max-tokens", "100")
QUESTIONS = (
    "Why is the sea salty?",
    "Name three animals that live in it.",
    "Write a poem about a whale.",
    "How deep is the deepest place?",
    "Who sails there?",
    "What do they see at night?",
)
COLUMNS, ROWS = 120, 36
LOOK_S = 0.5
LONGEST_S = 1.0
TITLE = "A conversation that outgrows its window of 512 tokens: the oldest turns are evicted, as the cache map shows"


class Recorder:
    """Samples the screen repeatedly."""

    def __init__(self, terminal: Terminal) -> None:
        self.frames: list[Frame] = []
        self._terminal = terminal

    def look(self, seconds: float = LOOK_S) -> None:
        """Record the screen as it is now, for this many seconds."""
        rows = tuple(tuple(self._terminal.cells(row)) for row in range(ROWS))
        if self.frames and self.frames[-1].rows == rows:
            seconds = min(LONGEST_S, self.frames.pop().seconds + seconds)
        self.frames.append(Frame(rows, seconds))

    def until(self, holds: Callable[[str], bool]) -> None:
        """Keep recording until `holds` is true of the screen."""
        while not holds(self._terminal.text):
            time.sleep(LOOK_S)
            self.look()

    def type(self, text: str) -> None:
        """Type like a person, but faster."""
        for at in range(0, len(text), 3):
            self._terminal.type(text[at : at + 3])
            time.sleep(0.1)
            self.look(0.1)

    def say(self, text: str, turn: int) -> None:
        """Send a message and record the reply."""
        self.type(text)
        self._terminal.press("enter")
        self.until(begun(turn))
        self.until(ready)
        self.look(LONGEST_S)


def record(terminal: Terminal) -> list[Frame]:
    """What happens in the film."""
    recorder = Recorder(terminal)
    terminal.wait_for(ready)
    recorder.look(LONGEST_S)
    recorder.say("My name is Ada, and I live by the sea.", 1)
    recorder.type("/pin")
    terminal.press("enter")
    recorder.until(lambda screen: "is pinned" in screen)
    recorder.look(LONGEST_S)
    for turn, question in enumerate(QUESTIONS, 2):
        recorder.say(question, turn)
    recorder.type("/recall 2")
    terminal.press("enter")
    recorder.until(lambda screen: "back in the window" in screen)
    recorder.look(3 * LONGEST_S)
    return recorder.frames


def main() -> None:
    """Record, and write the film."""
    file = Path(sys.argv[1]) if len(sys.argv) > 1 else Path("docs/pictures/session.svg")
    colours = {"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": None}
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder))
        with Terminal(home, *WORDS, columns=COLUMNS, rows=ROWS, variables=colours) as terminal:
            frames = record(terminal)
    file.write_text(film(frames, TITLE), encoding="utf-8")
    seconds = sum(frame.seconds for frame in frames)
    print(f"{file}: {len(frames)} screens, {seconds:.0f} s, {file.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
