"""What is typed goes to the prompt; single keys act only in a mode that was asked for and that shows itself."""

from pathlib import Path

import pytest
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from chatapp.protocol.commands import Pin
from chatapp.ui.widgets.inspector.cache_map import CacheMap
from chatapp.ui.widgets.inspector.cell_grid import CellGrid
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.section import SectionTitle
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.status import StatusBar
from tests.support.ui.chat_app import Bench, chat_screen, draft, ready, say, shown, transcript, until

SIZE = (120, 36)
WORDS = "hazel nut cjkpzreg[]?"
"""Every key that acts on a panel or a message is among them."""
NAMES = {" ": "space", "[": "left_square_bracket", "]": "right_square_bracket", "?": "question_mark"}
CHARACTERS = {name: character for character, name in NAMES.items()}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def keys_of(text: str) -> list[str]:
    """As pilot calls them."""
    return [NAMES.get(each, each) for each in text]


def arranged(pilot: Pilot[None]) -> object:
    """What single keys would change."""
    inspector = chat_screen(pilot).query_one(Inspector)
    return inspector.folds, inspector.views, pilot.app.screen.maximized, transcript(pilot).chosen


async def typed_at_once(pilot: Pilot[None], *keys: str) -> None:
    """All of them in one read, as over a slow line."""
    for key in keys:
        character = CHARACTERS.get(key, key)
        pilot.app.post_message(events.Key(key, character if len(character) == 1 else None))
    await pilot.pause(0.2)


async def expect_typed(pilot: Pilot[None], text: str, where: str) -> None:
    """The prompt has it, shows it, and nothing else has happened. The prompt is empty afterwards."""
    await until(pilot, lambda: draft(pilot) == text)
    assert isinstance(pilot.app.focused, Prompt), where
    chat_screen(pilot).query_one(Prompt).load_text("")


async def test_wherever_the_focus_is_what_is_typed_goes_to_the_prompt(bench: Bench) -> None:
    """Tab reaches everything that can be scrolled or pointed at; a letter leads back, and no letter is lost."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        before = arranged(pilot)
        reached: set[str] = set()
        for tabs in range(1, 14):
            await pilot.press(*["tab"] * tabs)
            reached.add(type(pilot.app.focused).__name__)
            await typed_at_once(pilot, *keys_of(WORDS))
            await expect_typed(pilot, WORDS, f"after Tab {tabs} times")
            assert arranged(pilot) == before
        assert {"Transcript", "Inspector", "SectionTitle", "CellGrid"} <= reached
        await pilot.press("tab", "ctrl+w")
        assert isinstance(pilot.app.focused, Prompt)
        await pilot.press("tab")
        pilot.app.post_message(events.Paste("pasted"))
        await until(pilot, lambda: draft(pilot) == "pasted")


async def test_no_click_and_no_drag_takes_the_prompt_its_letters(bench: Bench) -> None:
    """A click on the map goes to a turn, one on a title folds, one on a message selects it: the letters are text."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        screen = chat_screen(pilot)
        await pilot.click(CellGrid)
        await pilot.press(*keys_of("pa"))
        await expect_typed(pilot, "pa", "after a click on the map")
        await pilot.click(SectionTitle)
        assert screen.query_one(Inspector).sections[0].folded
        await pilot.press(*keys_of("za"))
        await expect_typed(pilot, "za", "after a click on a title")
        await pilot.click(StatusBar)
        await pilot.press("h")
        await expect_typed(pilot, "h", "after a click on the status bar")
        reply = shown(pilot)[-1]
        transcript(pilot).take(None)
        await pilot.mouse_down(reply, offset=(3, 1))
        await pilot.hover(reply, offset=(9, 1))
        await pilot.mouse_up(reply, offset=(9, 1))
        assert screen.get_selected_text()
        assert transcript(pilot).chosen is None, "a drag selects text, no message"
        await pilot.press("p")
        await expect_typed(pilot, "p", "after a drag")
        await pilot.click(reply, offset=(20, 0))
        assert transcript(pilot).chosen is reply
        assert "F8" in str(screen.query_one(Prompt).border_subtitle)
        await pilot.press("p")
        await expect_typed(pilot, "p", "after a click on a message")
        assert bench.of(Pin) == []


async def test_after_scrolling_and_after_a_dialog(bench: Bench) -> None:
    """The letters are text again, also those that come in the same read as the key that closes the dialog."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        for keys in (
            ("ctrl+home",), ("pageup",), ("ctrl+end",), ("f4", "escape"), ("f1", "escape"),
            ("ctrl+p", "escape"), ("f6", "escape"), ("f8", "escape"), ("f9", "escape"), ("f9", "f9"), ("f8", "enter"),
            ("shift+f2", "escape"), ("f9", "z", "f9"), ("f2", "f2"), ("f8", "f1", "escape", "escape"),
            ("tab", "f4", "escape"),
        ):  # fmt: skip
            await typed_at_once(pilot, *keys, *keys_of("pale c"))
            await expect_typed(pilot, "pale c", f"after {keys}")


async def test_what_is_typed_right_after_the_key_of_a_dialog_goes_into_the_dialog(bench: Bench) -> None:
    """It is for what was just asked for."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await say(pilot, "About whales")
        await ready(pilot)
        await typed_at_once(pilot, "ctrl+n", "f4", *"whales")
        await until(pilot, lambda: str(getattr(pilot.app.focused, "value", "")) == "whales")


async def test_the_keys_of_messages_show_themselves_and_end(bench: Bench) -> None:
    """F8 names the mode and its keys; any other letter ends it and is written."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await pilot.press("f8")
        assert isinstance(pilot.app.focused, Prompt), "there is no message to select"
        await say(pilot, "Hello")
        await ready(pilot)
        screen = chat_screen(pilot)
        await typed_at_once(pilot, "f8", "k", "p")
        await until(pilot, lambda: len(bench.of(Pin)) == 1)
        assert "message keys" in str(screen.query_one(StatusBar).render())
        assert "p unpin" in str(screen.query_one(Prompt).border_subtitle)
        assert str(shown(pilot)[0].query_one(".head", Static).render()).startswith("▸ ")
        await typed_at_once(pilot, *"What")
        await expect_typed(pilot, "What", "in F8")
        assert "message keys" not in str(screen.query_one(StatusBar).render())
        assert not str(shown(pilot)[0].query_one(".head", Static).render()).startswith("▸ ")
        await pilot.press("f8", "tab", "p")
        await expect_typed(pilot, "p", "after Tab in F8")
        assert len(bench.of(Pin)) == 1


async def test_f8_takes_the_message_that_a_click_has_selected(bench: Bench) -> None:
    """And once more the last one."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.click(shown(pilot)[0])
        await pilot.press("f8")
        assert transcript(pilot).chosen is shown(pilot)[0]
        await pilot.press("f8")
        assert transcript(pilot).chosen is shown(pilot)[-1]


async def test_the_keys_of_panels_show_themselves_and_end(bench: Bench) -> None:
    """F9 names the mode and its keys; a letter that is none of them ends it and is written, from a zoomed panel too."""
    async with bench.app().run_test(size=(160, 36)) as pilot:
        await ready(pilot)
        screen = chat_screen(pilot)
        await pilot.press(*["alt+left"] * 6)  # so that the titles have a place for their keys
        await pilot.press("f9")
        assert "panel keys" in str(screen.query_one(StatusBar).render())
        assert "z zoom" in str(screen.query_one(Prompt).border_subtitle)
        assert "z zoom" in str(screen.query_one(SectionTitle).render())
        await pilot.press("h", "z")
        assert screen.query_one(CacheMap).view
        assert screen.maximized is not None
        await typed_at_once(pilot, *"What")
        await expect_typed(pilot, "What", "in a zoomed panel")
        assert screen.maximized is None
        assert "panel keys" not in str(screen.query_one(StatusBar).render())
        await pilot.press("tab", "tab")
        assert "z zoom" not in str(screen.query_one(SectionTitle).render()), "a letter would be text"
        await pilot.press("f9")
        assert "z zoom" in str(screen.query_one(SectionTitle).render()), "F9 asks for the keys, wherever the focus is"


async def test_a_terminal_that_is_left_and_entered_again(bench: Bench) -> None:
    """A key that comes while the terminal says that it has no focus (tmux sends those) is typed all the same."""
    async with bench.app().run_test(size=SIZE) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        for before in ("f8", "f9", "tab"):
            await pilot.press(before)
            pilot.app.post_message(events.AppBlur())
            await typed_at_once(pilot, *"pace")
            await expect_typed(pilot, "pace", f"after {before}")


async def test_in_eighty_columns_what_is_typed_is_seen(bench: Bench) -> None:
    """The inspector over the chat gives way where it would cover the words."""
    async with bench.app().run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        screen = chat_screen(pilot)
        await pilot.press("f2", "a")
        assert screen.has_class("-overlay")
        await typed_at_once(pilot, *"b" * 60)
        await expect_typed(pilot, "a" + "b" * 60, "under the inspector")
        assert not screen.has_class("-overlay")
