"""Heat, cells by number and the words under the cursor in the whole program: what is asked of the engine, and shown."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from chatapp.chat.view import Phase
from chatapp.protocol.commands import Probe, Send, Spell
from chatapp.ui.layout import LayoutFile
from chatapp.ui.widgets.inspector.cache_map import CacheMap
from chatapp.ui.widgets.inspector.cell_grid import CellGrid
from chatapp.ui.widgets.inspector.legend import Legend
from chatapp.ui.widgets.inspector.mismatch import Mismatch
from tests.support.fake_engine.script import Script
from tests.support.presentation.inspector_events import loaded, past_the_window
from tests.support.presentation.looks import in_order, look, sight
from tests.support.ui.chat_app import Bench, chat_screen, notices, phase, ready, say, until
from tests.support.ui.inspector_app import InspectorApp, text_of

WIDE = (120, 50)
REPLIES = ("One two three four five six seven eight nine ten.", "Eleven twelve.")
HELD = [*"▸▸▸▸▸", "Hello", "▸", "One", *(f" {word}" for word in REPLIES[0].split()[1:])]
"""The tokens after the first turn."""


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [Script(replies=REPLIES, looks=True)])


def cache_map(pilot: Pilot[None]) -> CacheMap:
    return chat_screen(pilot).query_one(CacheMap)


def words(pilot: Pilot[None], name: str) -> str:
    """What one of the map's lines of text says, in one line."""
    return " ".join(text_of(cache_map(pilot).query_one(name, Static)).split())


def blocks(pilot: Pilot[None]) -> str:
    return text_of(cache_map(pilot).query_one("#global", CellGrid))


async def answered(pilot: Pilot[None], bench: Bench) -> None:
    """A turn, from beginning to end."""
    await say(pilot, "Hello")
    await until(pilot, lambda: bool(bench.of(Send)))
    await ready(pilot)


async def test_heat_asks_for_a_look_once_and_shows_what_comes(bench: Bench) -> None:
    """F12 before the first message: nothing to show, one question to the engine; then the reply's first token."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f12")
        await until(pilot, lambda: "No sample yet" in words(pilot, "#note"))
        cold = blocks(pilot)
        await answered(pilot, bench)
        await until(pilot, lambda: "attention of the token at position" in words(pilot, "#note"))
        assert len(bench.of(Probe)) == 1
        assert "9 tokens ago" in words(pilot, "#note")
        assert "▇" not in cold
        assert blocks(pilot).startswith("▇"), "the first two tokens got a quarter each"
        assert "╱" in blocks(pilot), "what came after the look is not in it"
        assert "≥32%" in text_of(cache_map(pilot).query_one(Legend))
        await pilot.press("f12")
        await until(pilot, lambda: not cache_map(pilot).query_one("#note").display)
        assert "▇" not in blocks(pilot)


async def test_another_reply_takes_the_heat_away_and_another_look_is_asked_for(bench: Bench) -> None:
    """The token that was looked into is no more, though a token of the same turn stands at its place."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f12")
        await answered(pilot, bench)
        await until(pilot, lambda: "tokens ago" in words(pilot, "#note"))
        await pilot.press("ctrl+t")
        await until(pilot, lambda: "No sample yet" in words(pilot, "#note"))
        await until(pilot, lambda: len(bench.of(Probe)) == 2)


async def test_look_asks_and_says_what_will_happen(bench: Bench) -> None:
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "/look")
        await until(pilot, lambda: len(bench.of(Probe)) == 1)
        assert any("next reply token will be probed" in notice for notice in notices(pilot))


async def test_where_nothing_can_be_read_look_says_why_and_asks_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path, [Script()])
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "/look")
        await until(pilot, lambda: any("There is no model." in notice for notice in notices(pilot)))
        await say(pilot, "/heat")
        await until(pilot, lambda: "Cells and attention cannot be read" in words(pilot, "#note"))
        assert bench.of(Probe) == []


async def test_cells_by_number_are_those_of_the_look(bench: Bench) -> None:
    """/physical, and by letters in the inspector; the picture says of which moment it is."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "/physical")
        await answered(pilot, bench)
        await until(pilot, lambda: "as read from llama.cpp at position" in words(pilot, "#note"))
        assert "╌" in blocks(pilot), "cells that the token did not see"
        assert "not seen" in text_of(cache_map(pilot).query_one(Legend))
        await pilot.press("f9", "h")
        await until(pilot, lambda: "attention of the token" in words(pilot, "#note"))
        await pilot.press("c")
        await until(pilot, lambda: "as read" not in words(pilot, "#note"))
        assert "╌" not in blocks(pilot)
        assert cache_map(pilot).view == {"order": "position", "heat": "on"}


async def test_the_way_it_is_looked_at_is_there_in_the_next_run(bench: Bench) -> None:
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "/physical")
        await say(pilot, "/heat")
        file = LayoutFile(bench.folder / "layout.json")
        await until(pilot, lambda: file.load()[0].views.get("Cache") == {"order": "cell", "heat": "on"})
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await until(pilot, lambda: cache_map(pilot).view == {"order": "cell", "heat": "on"})


async def test_the_cursor_names_the_words_that_the_engine_spells(bench: Bench) -> None:
    """A word is a token of the scripted engine, markup is ▸. One question for a block, however often drawn."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await answered(pilot, bench)
        cache_map(pilot).query_one("#global", CellGrid).focus()
        await pilot.press("home", "right")
        await until(pilot, lambda: "“" in words(pilot, "#under"))
        group = cache_map(pilot).query_one("#global", CellGrid).pointed
        assert group is not None
        first, n = group.stretches[0]
        assert f"“{''.join(HELD[first : first + n])}”" in words(pilot, "#under")
        asked = bench.of(Spell)
        assert (asked[-1].pos, asked[-1].n) == (first, n)
        await pilot.press("left")
        await until(pilot, lambda: "“▸▸" in words(pilot, "#under"))
        assert len({spell.pos for spell in bench.of(Spell)}) == len(bench.of(Spell))


async def test_during_a_reply_words_are_told_too(tmp_path: Path) -> None:
    """But not while a prompt is read: the engine would answer after it, about positions of another time."""
    bench = Bench(tmp_path, [Script(replies=REPLIES, hold_after=3)])
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        cache_map(pilot).query_one("#global", CellGrid).focus()
        await pilot.press("home")
        await until(pilot, lambda: "“▸▸" in words(pilot, "#under"))
        assert phase(pilot) is Phase.REPLYING
        chat = chat_screen(pilot).chat
        assert chat is not None
        asked = len(bench.of(Spell))
        chat.enter(Phase.READING)
        await pilot.press("right", "right")
        await pilot.pause(0.4)
        assert len(bench.of(Spell)) == asked


async def test_zoomed_a_block_is_a_cell_and_the_cursor_names_its_token(bench: Bench) -> None:
    """512 cells on a screen of 120 columns: one each. Back beside the chat a block stands for several again."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await answered(pilot, bench)
        grid = cache_map(pilot).query_one("#global", CellGrid)
        beside = grid.groups[0].n
        await say(pilot, "/zoom cache")
        await until(pilot, lambda: grid.groups[0].n == 1)
        grid.focus()
        await pilot.press("home", "right", "right", "right")
        await until(pilot, lambda: f"“{HELD[3]}”" in words(pilot, "#under"))
        assert "1 cell · position 3 ·" in words(pilot, "#under")
        await pilot.press("escape")
        await until(pilot, lambda: grid.groups[0].n == beside > 1)


async def test_a_mismatch_that_a_look_finds_is_named_in_red() -> None:
    """The snapshot may agree with llama.cpp's first and last position while a cell between them is wrong."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=(40, 60)) as pilot:
        await pilot.pause()
        assert not app.query_one(Mismatch).display
        runs = past_the_window().runs
        seen = sight(in_order(runs), {})
        app.feed(look(runs, seen, mismatch="position 20 is in no cell\x1b[2J"))
        await pilot.pause()
        told = " ".join(text_of(app.query_one(Mismatch)).split())
        assert "as read from llama.cpp at position 411: position 20 is in no cell␛[2J" in told
        app.feed(past_the_window())
        await pilot.pause()
        assert app.query_one(Mismatch).display, "a snapshot cannot take back what a look found"
        app.feed(look(runs, seen))
        await pilot.pause()
        assert not app.query_one(Mismatch).display
