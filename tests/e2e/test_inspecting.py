"""The inspector's manners with the keys and the mouse that terminals really send; what was arranged is there again."""

import json
import re
from collections.abc import Callable

import pytest

from tests.e2e.reading import BRIEF, ready, say
from tests.e2e.terminal import Home, Terminal, eventually, without


def edge_at(column: int) -> Callable[[str], bool]:
    """A question for `wait_for`: the inspector's edge stands in this column."""
    return lambda screen: all(line[column : column + 1] in "▏▌" for line in screen.splitlines()[2:8])


def test_keys_mouse_and_what_is_remembered(home: Home) -> None:
    """Zoom and back, in and out, wider, dragged, folded; the next run begins as this one was left."""
    layout = home.folder / ".local/state/swachat/layout.json"
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for(ready, "▾ Window", edge_at(78))
        terminal.press("alt+left")
        terminal.wait_for(edge_at(74))

        def dragged() -> bool:
            """A hand that moves sends its place again and again."""
            terminal.mouse("move", 5, 90)
            return edge_at(90)(terminal.text)

        terminal.mouse("press", 5, 74)
        eventually(dragged)
        terminal.mouse("release", 5, 90)
        terminal.press("alt+right")
        terminal.wait_for(edge_at(94))

        terminal.press("shift+f2")
        terminal.wait_for(without("▾ Window"), re.compile(r"^ *▾ Cache ", re.MULTILINE))
        terminal.press("escape")
        terminal.wait_for("▾ Window", "Write a message")

        terminal.press("f9")
        terminal.type("jz")
        terminal.wait_for(without("▾ Cache"), re.compile(r"^ *▾ Window .*z close", re.MULTILINE))
        terminal.type("z")
        terminal.wait_for("▾ Cache", "▾ Window")
        terminal.press("enter")
        terminal.wait_for("▸ Window", "▾ Cache")
        terminal.press("f9")
        say(terminal, "Hello", 1)  # the prompt has the focus again
        eventually(lambda: layout.exists() and json.loads(layout.read_text())["folded"].get("Window") is True)
        terminal.press("ctrl+q")
        assert terminal.exit_code() == 0
    with Terminal(home, *BRIEF) as terminal:
        terminal.wait_for(ready, "▸ Window", "▾ Cache", edge_at(94))


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "xterm", "COLORTERM": None}])
def test_a_day_at_eighty_columns(home: Home, variables: dict[str, str | None]) -> None:
    """Without colour, and with sixteen: the line while one writes, F9 for the panels, zoom for one, and back."""
    with Terminal(home, *BRIEF, "--theme", "terminal", columns=80, rows=24, variables=variables) as terminal:
        terminal.wait_for(ready, re.compile(r"▐sinks \d+▌"))
        say(terminal, "Hello", 1)
        terminal.press("f9")
        terminal.wait_for("▾ Cache", "▾ Window")
        terminal.type("z")
        terminal.wait_for(without("▾ Window"), "next", "free")
        terminal.press("escape")
        terminal.wait_for("▾ Window")
        terminal.press("escape")
        terminal.wait_for(without("▾ Window"), re.compile(r"▐sinks \d+▌"))
        say(terminal, "Once more", 2)
