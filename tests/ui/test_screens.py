"""Pictures of the main screens. Each docstring says what a person should see; look at the SVG before updating one."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Log

from chatapp.config import Config
from chatapp.engine.fake import Script
from chatapp.engine.protocol import Failed
from chatapp.ui.view import Phase
from chatapp.ui.widgets.prompt import Prompt
from tests.ui.support import Bench, chat_screen, phase, ready, say, until

NARROW, WIDE = (80, 24), (120, 36)
WHALES = """Whales are **mammals**: they breathe air, are warm-blooded and nurse their young.

1. Baleen whales filter *krill*.
2. Toothed whales hunt with `echolocation`.

```python
def sing(seconds: int) -> str:
    return "oo" * seconds
```
"""
SHORT = "Because sound travels four times as fast in water as in air, and light hardly travels at all."
TALK = Script(replies=(WHALES, SHORT), n_ctx=128)
QUESTIONS = ("What is a whale?", "Why do they sing?", "And how long do they live?", "Which one is the oldest?")

Run = Callable[[Pilot[None]], Awaitable[None]]


class Picture(Protocol):
    """Compare the app with its picture, after `run`."""

    def __call__(self, run: Run, size: tuple[int, int] = NARROW) -> None: ...


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [TALK])


@pytest.fixture
def picture(snap_compare: Callable[..., bool], bench: Bench) -> Picture:
    """Compare the app with its picture, after `run`; the cursor does not blink."""

    def compare(run: Run, size: tuple[int, int] = NARROW) -> None:
        async def before(pilot: Pilot[None]) -> None:
            await until(pilot, lambda: bool(chat_screen(pilot).query(Prompt)))
            chat_screen(pilot).query_one(Prompt).cursor_blink = False
            await run(pilot)
            await pilot.pause(0.2)
            for line in pilot.app.screen.query(Input):
                line.cursor_blink = False
            for log in pilot.app.screen.query(Log):
                log.scroll_end(animate=False, x_axis=False)
            await pilot.pause(0.1)

        assert snap_compare(bench.app(), terminal_size=size, run_before=before)

    return compare


async def talk(pilot: Pilot[None], turns: int) -> None:
    """A conversation about whales."""
    await ready(pilot)
    for question in QUESTIONS[:turns]:
        await say(pilot, question)
        await ready(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_the_first_screen(picture: Picture, size: tuple[int, int]) -> None:
    """Nothing has been said: a quiet welcome in the middle, the prompt below it, "ready" in the status bar."""
    picture(ready, size)


def test_loading(picture: Picture, bench: Bench) -> None:
    """A progress bar above the prompt stands at 25%; a message that was typed meanwhile waits above the prompt."""
    bench.scripts = [Script(load_s=0.05, hold_load=0.25)]

    async def run(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: (chat := chat_screen(pilot).chat) is not None and chat.done == (25, 100))
        await say(pilot, "Are you there yet?")

    picture(run)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_a_conversation_past_the_window(picture: Picture, size: tuple[int, int]) -> None:
    """A notice says which turns left; their messages have a thin edge and say so; the newest are full and coloured.

    At 120 columns the inspector stands at the right; at 80 it is one line above the status bar.
    """
    picture(partial(talk, turns=4), size)


def test_the_beginning_of_a_conversation_past_the_window(picture: Picture) -> None:
    """Scrolled to the top: the first message is out of the window, grey, with a thin edge and the words."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 4)
        await pilot.press("ctrl+home")

    picture(run)


def test_the_inspector_over_a_narrow_chat(picture: Picture) -> None:
    """At 80 columns F2 opens the inspector at the right, over the chat."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 1)
        await pilot.press("f2")

    picture(run)


def test_a_reply_in_the_middle_of_a_code_block(picture: Picture, bench: Bench) -> None:
    """The open code block is plain text on its own ground; "replying" in the status bar; a queued message waits."""
    bench.scripts = [Script(replies=(WHALES,), hold_after=30)]

    async def run(pilot: Pilot[None]) -> None:
        await ready(pilot)
        await say(pilot, "What is a whale?")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        await say(pilot, "Why do they sing?")
        await pilot.pause(0.5)

    picture(run)


def test_an_engine_that_died(picture: Picture, bench: Bench) -> None:
    """The partial reply stays and says that it broke off; a red line says why, a grey one that all is well again."""
    bench.scripts = [Script(replies=(SHORT,), die_in_turn=1, die_after=6), TALK]

    async def run(pilot: Pilot[None]) -> None:
        await ready(pilot)
        await say(pilot, "Why do they sing?")
        await until(pilot, lambda: len(bench.engines) == 2)
        await ready(pilot)

    picture(run)


def test_a_model_that_cannot_be_loaded(picture: Picture, bench: Bench) -> None:
    """One red line says what and what to do; the status bar says "no engine"."""
    what = "broken.gguf ends in the middle of a tensor: 12 MB of 98 MB are there."
    bench.scripts = [Script(load_failure=Failed(at_s=0, kind="model", what=what, todo="Get the file again."))]

    async def run(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: phase(pilot) is Phase.DOWN)

    picture(run)


def test_slash_commands(picture: Picture) -> None:
    """Above the prompt, the commands that begin with /re, the first one marked."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 1)
        await pilot.press("/", "r", "e")

    picture(run)


def test_help(picture: Picture) -> None:
    """All keys with what they do, in three groups, over the chat."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 1)
        await pilot.press("f1")

    picture(run, WIDE)


def test_choosing_a_model(picture: Picture) -> None:
    """A search line and the two models with size and source; the present one is marked."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 1)
        await pilot.press("ctrl+o")
        await pilot.pause(0.2)

    picture(run)


def test_the_palette(picture: Picture) -> None:
    """The actions that can be done now, with their keys; "Stop the reply" is not among them."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 1)
        await pilot.press("ctrl+p")
        await pilot.pause(0.5)

    picture(run)


def test_a_chosen_message(picture: Picture) -> None:
    """F8 and Up: the message has another ground."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 2)
        await pilot.press("f8", "up")

    picture(run)


@pytest.mark.parametrize("size", [(20, 5), (40, 12)])
def test_a_tiny_terminal(picture: Picture, size: tuple[int, int]) -> None:
    """The end of the conversation, the prompt, and what of the status fits."""
    picture(partial(talk, turns=1), size)


def test_without_colour(picture: Picture, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR: the shape of the edges and the words still say what is in the window."""
    monkeypatch.setenv("NO_COLOR", "1")
    picture(partial(talk, turns=4), WIDE)


@pytest.mark.parametrize("theme", ["swachat-light", "okabe-ito", "terminal"])
def test_other_themes(picture: Picture, bench: Bench, theme: str) -> None:
    """The same conversation in other colours, readable in each."""
    bench.config = Config.model_validate({"ui": {"theme": theme}})
    picture(partial(talk, turns=4))
