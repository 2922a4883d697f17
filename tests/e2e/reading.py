"""What a test reads off the screen and out of the store, and the exchange that most tests begin with."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyte.screens import Char

from chatapp.store import Store, StoredMessage
from tests.e2e.terminal import Home, Terminal

BRIEF = ("starter", "--ctx", "512", "--temp", "0", "--max-tokens", "12")
"""The real model in the smallest window, with replies that even a busy machine makes in seconds."""
AT_LENGTH = ("starter", "--ctx", "2048", "--temp", "0", "--max-tokens", "1500")
STORY = "Write a novel in thirty chapters about a lighthouse keeper."
"""What the model answers with more than a thousand tokens: there is time to do something in the middle of them."""


@dataclass(frozen=True)
class Figures:
    """The inspector's figures."""

    used: int
    n_ctx: int
    sinks: int
    gone_turns: int
    gone_tokens: int
    shifts: int


def chat(screen: str) -> str:
    """What stands at the left of the inspector."""
    return "\n".join(line.partition("▏")[0].rstrip() for line in screen.splitlines())


def says(pattern: str) -> Callable[[str], bool]:
    """A question for `wait_for`: the pattern is found at the left of the inspector; its dot matches line ends too."""
    return lambda screen: re.search(pattern, chat(screen), re.DOTALL) is not None


def squeezed(text: str) -> str:
    """Without any blank or line end: a long path is broken wherever the line is full."""
    return "".join(text.split())


def tells(line: str) -> Callable[[str], bool]:
    """A question for `wait_for`: the line is there at the left of the inspector, however it was broken."""
    return lambda screen: squeezed(line) in squeezed(chat(screen))


def figures(screen: str) -> Figures:
    """Those that the inspector shows on this screen."""
    found = re.search(
        r"Window +([\d,]+)/([\d,]+) .*?sinks +([\d,]+) .*?evicted +([\d,]+) turns? · ([\d,]+) token.*? ([\d,]+) shift",
        screen,
        re.DOTALL,
    )
    assert found is not None, screen
    return Figures(*(int(each.replace(",", "")) for each in found.groups()))


def map_cells(terminal: Terminal) -> list[Char]:
    """The cells of the cache map, from its first to its last row."""
    text = terminal.text
    rows = text.splitlines()
    first = next(row for row, line in enumerate(rows) if re.search(r"▏ (evicted [\d░▒╱]|nothing evicted)", line)) + 1
    last = next(row for row, line in enumerate(rows) if re.search(r"\d cells? per block", line))
    left = text.splitlines()[first].index("▏") + 2
    return [cell for row in range(first, last) for cell in terminal.cells(row)[left:] if cell.data != " "]


def ready(screen: str) -> bool:
    """Whether the status bar says that a message can be sent."""
    return screen.splitlines()[-1].startswith(" ready ")


def say(terminal: Terminal, text: str, turn: int) -> str:
    """Send `text` as the message of that turn and wait for its whole reply; the screen then."""
    terminal.type(f"{text}\r")
    return reply(terminal, turn)


def reply(terminal: Terminal, turn: int) -> str:
    """Wait for the whole reply of that turn; the screen then."""
    return terminal.wait_for(says(rf"Model  {turn}\b.*? tok/s · TTFT "), ready)


def begun(turn: int) -> Callable[[str], bool]:
    """A question for `wait_for`: the first words of that turn's reply are there."""
    return says(rf"Model  {turn}\b[^\n]*\n[^\n\w]+\w+\W\w+")


def stored(home: Home) -> list[StoredMessage]:
    """The branch that is shown of the last conversation, as it is in the store now."""
    with Store.open(home.store) as store:
        session = store.last_session()
        return [] if session is None else store.path(session.id)


def unsent(home: Home) -> str:
    """The draft of that conversation, as it is in the store now."""
    with Store.open(home.store) as store:
        session = store.last_session()
        return "" if session is None else store.drafts.read(session.id)


def costs(home: Home) -> list[dict[str, Any]]:
    """What the replies cost, as stored."""
    return [message.stats for message in stored(home) if message.stats is not None]
