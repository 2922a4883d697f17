"""The cache map on the screen of the real program, over evictions, against llama.cpp's own list of its cells."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e import terminal as terminals
from tests.e2e.reading import BRIEF, map_cells, ready, reply, say
from tests.e2e.terminal import Home, Terminal, without
from tests.support.cell_dumps import Dump, dumps, talkative

PROGRAM = """\
#!{python}
import sys
sys.executable = {engine!r}
from chatapp.cli import main
sys.argv[0] = "swachat"
sys.exit(main())
"""
WORDS = " ".join(f"The {n}th of a long row of plain sentences is about the number {n}." for n in range(40))
F12 = "\x1b[24~"
HELD = "S█▓▒░X"
"""Letters and shades of cells that hold a token of this conversation; each block is one cell."""


@pytest.fixture
def log(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the program start engines that say all; where they say it."""
    program = tmp_path / "swachat"
    program.write_text(PROGRAM.format(python=sys.executable, engine=str(talkative(tmp_path))))
    program.chmod(0o755)
    monkeypatch.setattr(terminals, "PROGRAM", program)
    return home.folder / ".local/state/swachat/engine.log"


def strips(screen: str) -> tuple[str, str]:
    """The blocks of the global cells and of the sliding window's, of a map that has the whole screen."""
    lines = [line.strip() for line in screen.splitlines()]
    above = next(i for i, line in enumerate(lines) if re.match(r"evicted |nothing evicted", line))
    words = next(i for i, line in enumerate(lines) if re.match(r"[\d,]+ cells? per block", line))
    between = lines[above + 1 : words]
    at = between.index("sliding-window layers") if "sliding-window layers" in between else len(between)
    return "".join(between[:at]), "".join(between[at + 1 :])


def beside(words: str) -> Callable[[str], bool]:
    """A question for `wait_for`: these words stand in the inspector, however they were broken."""
    return lambda screen: words in " ".join(" ".join(line.partition("▏")[2] for line in screen.splitlines()).split())


def last(found: list[Dump], n_swa: int) -> list[int]:
    """The positions before the last decode, and that of the one token which that brought."""
    positions = [dump for dump in found if bool(dump.n_swa) == bool(n_swa)][-1].positions
    return [*positions, positions[-1] + 1]


@pytest.mark.parametrize(
    ("model", "n_ctx", "n_swa", "n_words"), [("starter", 512, 0, 110), ("gemma3-270m", 1024, 512, 260)]
)
def test_every_cell_on_the_screen_is_one_of_llama_cpp(
    home: Home, log: Path, model: str, n_ctx: int, n_swa: int, n_words: int
) -> None:
    """A zoomed map without colour has a letter for each cell: as many of each as llama.cpp has, while turns leave."""
    words = (model, "--ctx", str(n_ctx), "--temp", "0", "--max-tokens", "8")
    variables = {"LLAMA_KV_CACHE_DEBUG": "3", "NO_COLOR": "1"}
    gone = 0
    with Terminal(home, *words, rows=40, variables=variables) as terminal:
        terminal.wait_for(ready)
        for turn in range(1, 6):
            terminal.paste(" ".join(WORDS.split()[:n_words]))
            terminal.press("enter")
            reply(terminal, turn)
            terminal.type("/zoom cache\r")
            screen = terminal.wait_for("Cache  ", "1 cell per block;")
            everywhere, window = strips(screen)
            found = dumps(log.read_text(errors="replace"))
            held = last(found, 0)
            assert len(everywhere) == n_ctx
            assert sum(everywhere.count(letter) for letter in HELD) == len(held)
            assert everywhere.count("·") + everywhere.count(">") == n_ctx - len(held)
            if n_swa:
                seen = [pos for pos in last(found, n_swa) if pos > held[-1] - n_swa]
                assert sum(window.count(letter) for letter in HELD) == len(seen)
                assert window.count("-") == len(window) - len(seen)
            gone += bool(re.search(r"evicted [\d░▒╱]", screen))
            terminal.press("escape")
            terminal.wait_for(ready)
    assert gone >= 2, "no turn has left: nothing was tried"


def test_heat_cells_and_words_come_from_the_model_itself(home: Home) -> None:
    """By keys that terminals send: F12 asks for a look and shows it; the cursor's words are the engine's tokens; `c`
    shows the cells by number. The first token, a sink, gets more than anything else of the system prompt."""
    with Terminal(home, *BRIEF, variables={"NO_COLOR": "1"}) as terminal:
        terminal.wait_for(ready)
        terminal.type(F12)
        terminal.wait_for(beside("No sample yet"))
        say(terminal, "Say hello", 1)
        terminal.wait_for(beside("heat: attention of the token at position"))
        first, *others = [cell.data for cell in map_cells(terminal)][:8]
        assert first in "4567", "the first tokens of SmolLM2 draw attention"
        assert all(other < first for other in others if other.isdigit())
        terminal.press("f9")
        terminal.press("tab")
        terminal.type("\x1b[H")
        terminal.wait_for(beside("“<|im_start|>system”"), beside("system prompt (sink) · 2 cells · positions 0–1"))
        terminal.type("c")
        terminal.wait_for(beside("by cell: as read from llama.cpp at position"), beside("cells 0–1 · positions 0–1"))
        terminal.type("ch")
        terminal.wait_for(without("heat:"), without("by cell:"))
