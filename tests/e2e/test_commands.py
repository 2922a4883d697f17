"""A key, a slash command and the palette do the same; help lists them."""

import pytest

from chatapp.store import Store
from tests.e2e.reading import ready, reply, say, says, stored, tells
from tests.e2e.terminal import Home, Terminal, eventually, without

SHORTEST = ("starter", "--ctx", "512", "--temp", "0", "--max-tokens", "3")
WELCOME = "Long conversations with a local model."


def do(terminal: Terminal, way: str, key: str, slash: str, title: str) -> None:
    """Do one thing in one of the three ways; `title` is its name in the palette."""
    match way:
        case "key":
            terminal.press(key)
        case "slash":
            terminal.type(f"/{slash}\r")
        case _:
            terminal.press("ctrl+p")
            terminal.wait_for("Search for commands")
            terminal.type(title.lower())
            terminal.wait_for(without("Search for commands"), lambda screen: screen.count(title) == 1)
            terminal.press("enter")


@pytest.mark.parametrize("way", ["key", "slash", "palette"])
def test_three_ways_to_each_action(home: Home, way: str) -> None:
    with Terminal(home, *SHORTEST) as terminal:
        terminal.wait_for(ready)
        say(terminal, "One", 1)
        do(terminal, way, "ctrl+r", "regenerate", "Regenerate the reply")
        eventually(lambda: _replies(home) == ["done", "done"])
        terminal.wait_for(ready)

        do(terminal, way, "ctrl+t", "undo", "Undo the last turn")
        terminal.wait_for(without("You  1"), "│ One ", tells("the last turn was undone"))
        assert stored(home) == []
        assert _replies(home) == ["done", "done"], "what is undone stays stored"
        terminal.press("enter")
        reply(terminal, 1)

        do(terminal, way, "ctrl+l", "clear", "New conversation")
        terminal.wait_for(without("You  1"), WELCOME, ready)
        say(terminal, "Two", 1)
        with Store.open(home.store) as store:
            assert [session.title for session in store.sessions()] == ["Two", "One"]

        before = terminal.cells(0)[0].bg
        do(terminal, way, "f3", "theme dawn", "Next theme")
        eventually(lambda: terminal.cells(0)[0].bg != before)


def test_help_and_an_unknown_command(home: Home) -> None:
    """F1 lists keys and commands; a mistyped command is not sent, and the nearest one is named."""
    with Terminal(home, *SHORTEST, rows=120) as terminal:
        terminal.wait_for(ready)
        terminal.press("f1")
        screen = terminal.wait_for("Keys and commands", "Esc closes")
        for key, what in (
            ("Ctrl+R", "/regenerate /retry"),
            ("Ctrl+T", "/undo"),
            ("Ctrl+N  Ctrl+L", "/new /clear"),
            ("F2", "/inspector"),
            ("F1", "/help"),
            ("Ctrl+Q", "/quit /exit"),
        ):
            assert any(f"│ {key} " in line and what in line for line in screen.splitlines()), key
        terminal.press("escape")
        terminal.wait_for(without("Keys and commands"))
        terminal.type("/regenrate\r")
        terminal.wait_for(tells("There is no command /regenrate. Did you mean /regenerate?"), "│ /regenrate ")
        assert stored(home) == []
        for _ in "/regenrate":
            terminal.press("backspace")
        terminal.type("//etc is a folder\r")
        terminal.wait_for(says(r"You  1\W+/etc is a folder"))


def _replies(home: Home) -> list[str]:
    """The states of all replies of the last conversation, on every branch."""
    with Store.open(home.store) as store:
        session = store.sessions(1)[0]
        return [message.state for message in store.tree(session.id) if message.role == "assistant"]
