"""Pictures of the main screens. Each docstring says what a person should see; look at the SVG before updating one."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

import pytest
from textual.pilot import Pilot
from textual.widgets import Input, Log, OptionList

from chatapp.chat.view import Phase
from chatapp.config import Config
from chatapp.protocol.events import Failed
from chatapp.ui.dialogs.chooser import Chooser
from chatapp.ui.widgets.prompt import Prompt
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import (
    Bench,
    chat_screen,
    draft,
    notices,
    phase,
    ready,
    say,
    spoken,
    until,
)

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


KEEPING = Script(replies=("word " * 14,), n_ctx=128)
"""Six turns: the first of them leave."""


async def talk_long(pilot: Pilot[None], begun: int = 0) -> None:
    """Six turns, of which the first leave."""
    await ready(pilot)
    for question in (*QUESTIONS, "Does a whale sleep?", "Does a whale dream?")[begun:]:
        await say(pilot, question)
        await ready(pilot)


async def keep(pilot: Pilot[None]) -> None:
    """Turn 1 is pinned, 2 has left and is recalled, 3 has left."""
    await talk(pilot, 1)
    await say(pilot, "/pin 1")
    await ready(pilot)
    await talk_long(pilot, begun=1)
    await say(pilot, "/recall 2")
    await until(pilot, lambda: any("back in the window" in line for line in notices(pilot)))
    await ready(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
def test_pinned_and_recalled_turns(picture: Picture, bench: Bench, size: tuple[int, int]) -> None:
    """At the top: turn 1 pinned (double edge), turn 2 recalled (heavy edge), turn 3 out of the window (thin, grey).

    The map has a pinned stretch after the sinks and the recalled one at its end; at 120 columns the legend names both.
    """
    bench.scripts = [KEEPING]

    async def run(pilot: Pilot[None]) -> None:
        await keep(pilot)
        await pilot.press("ctrl+home")

    picture(run, size)


def test_pinned_and_recalled_turns_without_colour(
    picture: Picture, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The words beside the names say it, the edges differ in shape, and the map has the letters P and R."""
    monkeypatch.setenv("NO_COLOR", "1")
    bench.scripts = [KEEPING]

    async def run(pilot: Pilot[None]) -> None:
        await keep(pilot)
        await pilot.press("ctrl+home")

    picture(run, WIDE)


def test_choosing_what_to_recall(picture: Picture, bench: Bench) -> None:
    """Turns that have left, with their tokens and what was found; below, greyed, one that is in the window."""
    bench.scripts = [KEEPING]

    async def run(pilot: Pilot[None]) -> None:
        await talk_long(pilot)
        await say(pilot, "/recall whale")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        await until(pilot, lambda: pilot.app.screen.query_one(OptionList).option_count > 0)
        await pilot.press("tab")

    picture(run)


def test_choosing_a_branch_and_the_alternatives_of_a_reply(picture: Picture, bench: Bench) -> None:
    """Three branches: the one that is shown first; the others with where they part and how long they are."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 2)
        await pilot.press("ctrl+r")
        await ready(pilot)
        await say(pilot, "/branch 1")
        await ready(pilot)
        await say(pilot, "Which one is the largest?")
        await ready(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))

    picture(run)


def test_another_branch_beside_the_one_in_use(picture: Picture) -> None:
    """The map has hatched cells at its end ("other branch"); the second message is ‹2/2›; the log has a branch."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 2)
        await say(pilot, "/edit 2")
        await until(pilot, lambda: draft(pilot) != "")
        chat_screen(pilot).query_one(Prompt).insert(" At night?")
        await pilot.press("enter")
        await until(pilot, lambda: "Why do they sing? At night?" in spoken(pilot))
        await ready(pilot)

    picture(run, WIDE)


def test_editing_a_message(picture: Picture) -> None:
    """The message stands in the prompt, whose border says which turn it is and that Esc leaves it as it is."""

    async def run(pilot: Pilot[None]) -> None:
        await talk(pilot, 2)
        await pilot.press("f8", "up", "e")

    picture(run)


def test_a_recall_on_its_way(picture: Picture, bench: Bench) -> None:
    """A progress bar above the prompt says how far it is and that Esc stops it; "recalling" in the status bar."""
    bench.scripts = [replace(KEEPING, hold_recall=True, chunk_tok=16)]

    async def run(pilot: Pilot[None]) -> None:
        await talk_long(pilot)
        await say(pilot, "/recall 1")
        await until(
            pilot, lambda: phase(pilot) is Phase.RECALLING and chat_screen(pilot).query_one("#progress").display
        )

    picture(run)
