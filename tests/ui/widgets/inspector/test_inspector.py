"""The inspector in a running app: what it shows, when it draws, and what a person can do with it."""

import re
from collections.abc import Callable
from unittest.mock import patch

import msgspec
import pytest
from textual.widget import Widget
from textual.widgets import Log, Static

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Snapshot, Text, Warned
from chatapp.protocol.values import CellRun, Device
from chatapp.ui.frame_pace import FramePace
from chatapp.ui.widgets.inspector.cache_map import CacheMap
from chatapp.ui.widgets.inspector.cell_grid import CellGrid
from chatapp.ui.widgets.inspector.gauge import Gauge
from chatapp.ui.widgets.inspector.ghost_strip import GhostStrip
from chatapp.ui.widgets.inspector.inspector import PANELS, Inspector
from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
from chatapp.ui.widgets.inspector.legend import Legend
from chatapp.ui.widgets.inspector.memory import MemoryPanel
from chatapp.ui.widgets.inspector.mismatch import Mismatch
from chatapp.ui.widgets.inspector.section import SectionTitle
from chatapp.ui.widgets.inspector.speed import SpeedPanel
from tests.support.presentation.inspector_events import (
    GPU,
    NOON_S,
    conversation,
    done,
    hybrid,
    loaded,
    past_the_window,
    snapshot,
    started,
    story,
)
from tests.support.presentation.probe_events import layer, probed
from tests.support.ui.inspector_app import InspectorApp, colours_of, text_of

SIZE = (40, 60)


def grown(base: Snapshot, n: int) -> Snapshot:
    """The snapshot with `n` more tokens in the last message."""
    *runs, last = base.runs
    runs.append(msgspec.structs.replace(last, n=last.n + n))
    return msgspec.structs.replace(base, runs=runs, n_used=base.n_used + n)


# --------------------------------------------------------------------------- when it draws


async def test_of_many_snapshots_only_the_newest_is_drawn() -> None:
    """100 snapshots within one frame: at most two drawings, and the last one is what a person sees."""
    app = InspectorApp([loaded()], frames_per_second=2)
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        with patch.object(CacheMap, "look", autospec=True, side_effect=CacheMap.look) as look:
            for n in range(100):
                app.feed(grown(past_the_window(), n))
            await pilot.pause(0.7)
        assert 1 <= look.call_count <= 2
        assert "511/512" in text_of(app.query(SectionTitle)[1])


async def test_what_is_scrolled_away_is_not_drawn_until_it_comes_into_sight() -> None:
    """Drawing it would cost most of all: Textual lays out the whole screen for a widget that is out of sight."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=(40, 14)) as pilot:
        await pilot.pause()
        with patch.object(MemoryPanel, "look", autospec=True, side_effect=MemoryPanel.look) as look:
            app.feed(msgspec.structs.replace(past_the_window(), resident_bytes=400_000_000))
            await pilot.pause(0.05)
            look.assert_not_called()
            app.query_one(Inspector).scroll_end(animate=False)
            await pilot.pause(0.05)
            look.assert_called()
        assert "381 MiB" in text_of(next(title for title in app.query(SectionTitle) if "Memory" in text_of(title)))


async def test_only_the_rows_of_the_map_that_changed_are_drawn() -> None:
    """One more token in a cache of 512: one row of seven is drawn; and the map is what a new one would be."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        grid = app.query_one("#global", CellGrid)
        with patch.object(CellGrid, "refresh", autospec=True, side_effect=CellGrid.refresh) as refresh:
            app.feed(grown(past_the_window(), 1))
            await pilot.pause(0.05)
        drawn = [region for call in refresh.call_args_list for region in call.args[1:]]
        assert [region.height for region in drawn] == [1]
        app.feed(grown(past_the_window(), 60))
        await pilot.pause(0.05)
        partly = text_of(grid), [group.n for group in grid.groups]
    fresh = InspectorApp([loaded(), grown(past_the_window(), 60)])
    async with fresh.run_test(size=SIZE) as pilot:
        await pilot.pause()
        grid = fresh.query_one("#global", CellGrid)
        assert partly == (text_of(grid), [group.n for group in grid.groups])


async def test_during_a_reply_it_spares_the_processor_and_at_its_end_it_catches_up() -> None:
    """With a pause of half a minute nothing of the reply would be drawn but its beginning; its end is, at once."""
    app = InspectorApp([loaded(), past_the_window()])
    with patch.object(FramePace, "sparing_pause_s", 30.0):
        async with app.run_test(size=SIZE) as pilot:
            await pilot.pause()
            app.feed(*story()[1:4], grown(past_the_window(), 40))
            await pilot.pause(0.1)
            assert "412/512" in text_of(app.query(SectionTitle)[1])
            app.feed(done(7, reply=37, reused=331, at_s=NOON_S, decode_tok_s=58.0))
            await pilot.pause(0.1)
            assert "452/512" in text_of(app.query(SectionTitle)[1])


async def test_a_token_draws_nothing() -> None:
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        with patch.object(CacheMap, "look", autospec=True) as look:
            for _ in range(50):
                app.feed(Text(at_s=NOON_S, turn=8, text="word ", tokens=1))
            await pilot.pause()
        look.assert_not_called()


@pytest.mark.parametrize("hidden", ["Inspector", "#side"])
async def test_hidden_it_draws_nothing_and_shown_again_it_is_up_to_date(hidden: str) -> None:
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.query_one(hidden).display = False
        await pilot.pause()
        with patch.object(CacheMap, "look", autospec=True, side_effect=CacheMap.look) as look:
            app.feed(grown(past_the_window(), 50))
            await pilot.pause(0.1)
            look.assert_not_called()
            app.query_one(hidden).display = True
            await pilot.pause(0.1)
            look.assert_called()
        assert "462/512" in text_of(app.query(SectionTitle)[1])


async def test_a_folded_section_draws_only_its_title() -> None:
    """Enter on "Memory" folds it; its figure stays in the title; unfolded it shows the newest numbers."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        title = app.query_one(Inspector).section("memory").title
        title.focus()
        await pilot.press("enter")
        assert not app.query_one(MemoryPanel).display
        assert "▸ Memory  239 MiB" in text_of(title)
        app.feed(msgspec.structs.replace(past_the_window(), devices=[GPU], resident_bytes=400_000_000))
        await pilot.pause()
        assert "381 MiB" in text_of(title)
        await pilot.click(title)
        await pilot.pause()
        assert "57 GiB of 79.2 GiB free" in text_of(app.query_one(MemoryPanel))


async def test_another_model_leaves_no_old_figure() -> None:
    app = InspectorApp([started(), loaded(), *story(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        app.feed(loaded(n_ctx=4096))
        await pilot.pause()
        assert "4,096 cells" in text_of(app.query_one(Gauge))
        assert "61.2" not in text_of(app.query_one(SpeedPanel))
        assert "251" not in text_of(app.query_one(MemoryPanel))


# --------------------------------------------------------------------------- the map


async def test_the_map_names_what_the_mouse_is_on() -> None:
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.hover("#global", offset=(0, 0))
        await pilot.pause()
        assert "system prompt (sink) · 2 cells · positions 0–1" in " ".join(text_of(app.query_one("#under")).split())
        await pilot.hover("#global", offset=(15, 0))
        await pilot.pause()
        assert "2 cells · positions 30–31: 1 system prompt (sink), 1 turn 4, you" in " ".join(
            text_of(app.query_one("#under")).split()
        )
        await pilot.hover("#legend")
        await pilot.pause()
        assert "2 cells per block" in text_of(app.query_one("#under"))


async def test_a_click_and_enter_choose_a_turn() -> None:
    """A click chooses turn 4, Enter one row below turn 5; free cells and the system prompt choose nothing."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.click("#global", offset=(20, 0))
        await pilot.press("down", "enter", "end", "enter", "home", "enter")
        await pilot.pause()
        pointed = app.query_one("#global", CellGrid).pointed
        assert pointed is not None
        assert pointed.start == 0
        assert app.chosen == [4, 5]


async def test_the_cursor_stays_on_the_map() -> None:
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        grid = app.query_one("#global", CellGrid)
        grid.focus()
        await pilot.pause()
        pointed = grid.pointed
        assert pointed is not None
        assert pointed.head
        await pilot.press("home", "left", "up")
        assert grid.pointed is grid.groups[0]
        await pilot.press("end", "right", "down")
        assert grid.pointed is grid.groups[-1]


async def test_a_click_on_a_ghost_chooses_the_turn_that_left() -> None:
    """ "evicted ", then turn 1 (three columns), turn 2 (two), turn 3 (four)."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        for x in (7, 8, 11, 16, 17):
            await pilot.click(GhostStrip, offset=(x, 0))
        await pilot.pause()
        assert app.chosen == [1, 2, 3]


async def test_ghosts_that_do_not_fit_are_counted() -> None:
    app = InspectorApp([loaded(2048, 512, 768), hybrid()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert text_of(app.query_one(GhostStrip)).startswith("evicted 12+ ")


async def test_a_hybrid_model_shows_its_window_too() -> None:
    """768 cells, 512 of them seen; the bracket says so and no sink is among them. A plain model has no such strip."""
    app = InspectorApp([loaded(2048, 512, 768), hybrid()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert "window 512 of 512" in text_of(app.query_one("#bracket"))
        window = app.query_one("#window", CellGrid)
        assert sum(group.n for group in window.groups) == 768
        assert not any(group.sinks for group in window.groups)
        app.feed(loaded(), past_the_window())
        await pilot.pause()
        assert not window.display


# --------------------------------------------------------------------------- colours


async def test_the_map_follows_the_theme() -> None:
    """The theme's own cell colours are used, and a new theme repaints what is there."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        before = colours_of(app.query_one("#global"))
        app.theme = "bright"
        await pilot.pause()
        assert {"#ff0000", "#00ff00", "#0000ff"} <= colours_of(app.query_one("#global"))
        assert not {"#ff0000", "#00ff00", "#0000ff"} & before
        assert "#ff0000" in colours_of(app.query_one(Gauge))


async def test_without_colour_letters_and_shades_tell_the_cells_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """31 sinks are 15 S and one s (it holds turn 4 too); turn 4 is even: ▒ is the message, ░ its reply."""
    monkeypatch.setenv("NO_COLOR", "1")
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        first = text_of(app.query_one("#global")).splitlines()[0]
        assert re.fullmatch("S{15}s▒{10}b?░+", first), first
        assert ">" in text_of(app.query_one("#global"))
        assert "█▒ you" in text_of(app.query_one(Legend))


async def test_a_grey_theme_gets_letters() -> None:
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        app.theme = "grey"
        await pilot.pause()
        assert text_of(app.query_one("#global")).startswith("SSS")


# --------------------------------------------------------------------------- figures


async def test_what_nobody_measured_is_a_dash() -> None:
    """Compute was planned but not found in the load log: its cell and the sum are dashes, the plan is whole."""
    app = InspectorApp([started(), loaded(), snapshot(decode_tok_s=None)])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        rows = {line.split()[0]: line.split() for line in text_of(app.query_one(MemoryPanel)).splitlines()}
        assert rows["weights"] == ["weights", "93.5", "MiB", "93.7", "MiB"]
        assert rows["compute"] == ["compute", "22.9", "MiB", "—"]
        assert rows["total"] == ["total", "128", "MiB", "—"]
        assert text_of(app.query_one(SpeedPanel)).splitlines()[1].split() == ["reply", "—"]


async def test_speed_keeps_a_history_from_zero() -> None:
    """40 then 20 tok/s: the second bar is half as high as the first."""
    events = [done(turn, reply=9, reused=0, at_s=NOON_S, decode_tok_s=rate) for turn, rate in ((1, 40.0), (2, 20.0))]
    app = InspectorApp([loaded(), *events])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert "█▄ up to 40 tok/s" in text_of(app.query_one(SpeedPanel))


async def test_the_gauge_says_what_stays_and_what_left() -> None:
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        lines = [" ".join(line.split()) for line in text_of(app.query_one(Gauge)).splitlines()]
        assert lines[1:] == [
            "sinks 31 · system prompt",
            "evicted 3 turns · 1,356 tokens",
            "policy sinks · 3 shifts",
        ]


async def test_a_mismatch_is_named_until_it_is_gone() -> None:
    app = InspectorApp([loaded(), snapshot(mismatch="the ledger ends at 411, the cache at 409")])
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        assert app.query_one(Mismatch).display
        assert "the cache at 409" in " ".join(text_of(app.query_one(Mismatch)).split())
        app.feed(past_the_window())
        await pilot.pause()
        assert not app.query_one(Mismatch).display


async def test_what_others_wrote_is_never_obeyed() -> None:
    """Markup and escapes in a device's name, a warning and a mismatch are shown as they are, or as pictures."""
    evil = "[bold red]x[/] \x1b]52;c;aGk=\x07"
    device = Device(name="[b]G\x1b[2J", description="", kind="gpu", total_bytes=2, free_bytes=1)
    app = InspectorApp([loaded(), Warned(at_s=NOON_S, text=evil), snapshot(mismatch=evil, devices=[device])])
    async with app.run_test(size=(120, 60)) as pilot:
        await pilot.pause()
        shown = "\n".join(text_of(app.query_one(part)) for part in (Mismatch, MemoryPanel, Log))
        assert shown.count("[bold red]x[/] ␛]52;c;aGk=␇") == 2
        assert "[b]G␛[2J" in shown
        assert "\x1b" not in shown


# --------------------------------------------------------------------------- help


@pytest.mark.parametrize("panel", [*PANELS.values(), Inspector])
def test_each_help_is_three_sentences(panel: Callable[[], Widget]) -> None:
    """What is shown, how it was measured, and what to know about it."""
    sentences = re.split(r"\.(?: |$)", panel().HELP or "")
    assert [sentence for sentence in sentences if not sentence] == [""]
    assert len(sentences) == 4


async def test_a_question_mark_explains_a_section() -> None:
    app = InspectorApp([loaded()])
    async with app.run_test(size=SIZE) as pilot:
        app.query(SectionTitle)[1].focus()
        await pilot.press("question_mark")
        shown = [help for help in app.query("Section > Static").results(Static) if help.display]
        assert len(shown) == 1
        assert "Sinks are the first tokens" in " ".join(text_of(shown[0]).split())
        await pilot.press("question_mark")
        assert not shown[0].display


# --------------------------------------------------------------------------- the line


@pytest.mark.parametrize(
    ("width", "said"),
    [
        (80, "412/512 · 3 turns evicted · 61.2 tok/s · 239 MiB"),
        (63, "412/512 · 3 turns evicted · 61.2 tok/s"),
        (49, "412/512 · 3 turns evicted"),
        (20, "412/512"),
    ],
)
async def test_the_line_drops_words_before_it_drops_the_map(width: int, said: str) -> None:
    app = InspectorApp([loaded(), past_the_window()], line=True)
    async with app.run_test(size=(width, 5)) as pilot:
        await pilot.pause()
        line = text_of(app.query_one(InspectorLine))
        assert "sinks 31" in line
        assert line.endswith(f" {said}")
        assert len(line) <= width


async def test_the_line_tells_of_sinks_and_of_a_draft_where_there_is_room() -> None:
    """What sending would do comes right after the window, and goes with the draft; the map stays."""
    app = InspectorApp([loaded(), past_the_window()], line=True)
    async with app.run_test(size=(80, 5)) as pilot:
        line = app.query_one(InspectorLine)
        app.feed(probed([layer(0, [155, 156])]))
        await pilot.pause()
        assert text_of(line).endswith(" 412/512 · 3 turns evicted · 61% on sinks · 61.2 tok/s")
        line.show_draft("212 tokens: evicts turn 4")
        await pilot.pause()
        assert " 412/512 · 212 tokens: evicts turn 4" in text_of(line)
        assert len(text_of(line)) <= 80
        line.show_draft("")
        await pilot.pause()
        assert "turn 4" not in text_of(line)
        app.feed(loaded())
        app.feed(past_the_window())
        await pilot.pause()
        assert "on sinks" not in text_of(line)


async def test_a_hidden_line_is_not_drawn_and_shown_again_it_is_up_to_date() -> None:
    """Textual lays out the whole screen when a widget is refreshed that is not there."""
    app = InspectorApp([loaded(), past_the_window()], line=True)
    async with app.run_test(size=(80, 5)) as pilot:
        await pilot.pause()
        line, side = app.query_one(InspectorLine), app.query_one("#side")
        side.display = False
        await pilot.pause()
        with patch.object(InspectorLine, "refresh", autospec=True, side_effect=InspectorLine.refresh) as refresh:
            app.feed(snapshot(conversation([(10, 20)])))
            await pilot.pause()
            refresh.assert_not_called()
        side.display = True
        await pilot.pause()
        await pilot.pause()
        assert "61/512" in text_of(line)


async def test_the_line_names_a_mismatch() -> None:
    app = InspectorApp([loaded(), snapshot(mismatch="x")], line=True)
    async with app.run_test(size=(80, 5)) as pilot:
        await pilot.pause()
        assert "map is wrong" in text_of(app.query_one(InspectorLine))


async def test_the_line_follows_snapshots_and_models() -> None:
    app = InspectorApp([started()], line=True)
    async with app.run_test(size=(80, 5)) as pilot:
        await pilot.pause()
        assert text_of(app.query_one(InspectorLine)) == "no cache yet"
        events: list[AnyEvent] = [loaded(), snapshot([CellRun(turn=1, role="user", kind="recent", pos=0, n=9)])]
        app.feed(*events)
        await pilot.pause()
        assert "9/512" in text_of(app.query_one(InspectorLine))
        app.feed(snapshot(conversation([(10, 20)])))
        await pilot.pause()
        assert "61/512" in text_of(app.query_one(InspectorLine))
