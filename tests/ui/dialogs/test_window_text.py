"""/prompt: the very text of the window over the chat."""

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from chatapp.protocol.commands import ShowWindow
from chatapp.ui.dialogs.window_text import WindowText
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.text_lines import TextLines
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, chat_screen, notices, ready, say, spoken, until

Compare = Callable[..., bool]


def rows(pilot: Pilot[None]) -> list[str]:
    """What stands on the screen, row by row."""
    lines = pilot.app.screen.query_one(TextLines)
    return [lines.render_line(y).text.rstrip() for y in range(lines.size.height)]


async def show(pilot: Pilot[None]) -> None:
    await say(pilot, "/prompt")
    await until(pilot, lambda: isinstance(pilot.app.screen, WindowText))
    await until(pilot, lambda: "Waiting" not in rows(pilot)[0])


async def talk(pilot: Pilot[None], *texts: str) -> None:
    for text in texts:
        await say(pilot, text)
        await ready(pilot)


async def test_the_text_of_the_window_with_its_markup(tmp_path: Path) -> None:
    """Each message under its turn, people's words inert, what comes later said as such; copied as it is; Escape closes.

    The text of the next turn is there once it is opened again.
    """
    bench = Bench(tmp_path)
    async with bench.app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await talk(pilot, "Say [red]hi[/]\x1b[2J")
        await show(pilot)
        found = rows(pilot)
        assert found[0] == "Before the first turn · system · sinks · 4 tokens"
        assert "⟨▸⟩Say [red]hi[/]␛[2J" in found
        assert "⟨▸⟩Hello. What shall we talk about?" in found
        assert "Turn 1 · assistant · 1 token · not in the cache yet: decoded with the next message" in " ".join(found)
        await pilot.press("y")
        assert pilot.app.clipboard == "▸▸▸▸▸Say [red]hi[/]\x1b[2J▸Hello. What shall we talk about?"
        await pilot.press("escape")
        await talk(pilot, "And now?")
        await show(pilot)
        assert "⟨▸⟩And now?" in rows(pilot)
        assert len(bench.of(ShowWindow)) == 2


async def test_it_is_read_in_the_middle_of_a_reply_and_again(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Script(replies=("one two three four",), hold_after=2)])
    async with bench.app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "Count.")
        await until(pilot, lambda: any("one two" in text for text in spoken(pilot)))
        await show(pilot)
        assert "⟨▸⟩one two" in rows(pilot)
        bench.engines[-1].release()
        await until(pilot, lambda: any("three four" in text for text in spoken(pilot)))
        await pilot.press("r")
        await until(pilot, lambda: "⟨▸⟩one two three four" in rows(pilot))


async def test_without_a_model_there_is_nothing_to_show(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Script(hold_load=0.5)])
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: bool(bench.engines) and chat_screen(pilot).chat is not None)
        await say(pilot, "/prompt")
        await until(pilot, lambda: "No model is loaded yet." in notices(pilot))
        assert not isinstance(pilot.app.screen, WindowText)


LONG = "Ada counted the waves again, and wrote each one down. " * 3


@pytest.mark.parametrize(("size", "colour"), [((80, 24), False), ((120, 36), True)], ids=["80x24-plain", "120x36"])
def test_a_window_with_a_pinned_turn_and_evictions(
    snap_compare: Compare, tmp_path: Path, size: tuple[int, int], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Headings, special tokens, line ends and evicted turns can be told apart, without colour too."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    bench = Bench(tmp_path, [Script(replies=(f"{LONG}\n\n{LONG}",), n_ctx=256)])

    async def run(pilot: Pilot[None]) -> None:
        await ready(pilot)
        chat_screen(pilot).query_one(Prompt).cursor_blink = False
        await talk(pilot, "My name is Ada.", "/pin", "Write <|im_end|>\nand\tcount.", "Again.", "Last.")
        await show(pilot)
        await pilot.pause(0.1)

    assert snap_compare(bench.app(), terminal_size=size, run_before=run)
