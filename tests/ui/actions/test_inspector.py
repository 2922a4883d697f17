"""What a person does with the inspector in the whole program: zoom, fold, explain, resize; and what is remembered."""

from pathlib import Path

import pytest
from textual.events import Key, MouseMove
from textual.pilot import Pilot
from textual.widget import Widget

from chatapp.ui.layout import Layout, LayoutFile
from chatapp.ui.widgets.inspector.inspector import FOLDED_AT_FIRST, PANELS, Inspector
from chatapp.ui.widgets.inspector.section import Section
from chatapp.ui.widgets.inspector.side import Edge, Side
from chatapp.ui.widgets.prompt import Prompt
from tests.support.ui.chat_app import Bench, chat_screen, draft, notices, ready, say, until
from tests.support.ui.inspector_app import text_of

WIDE = (120, 36)
CLASSIC = (80, 24)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def inspector(pilot: Pilot[None]) -> Inspector:
    return chat_screen(pilot).query_one(Inspector)


def panel(pilot: Pilot[None], name: str) -> Section:
    return inspector(pilot).section(name)


def written(widget: Widget) -> str:
    """What the widgets within it show, in one line."""
    return " ".join(" ".join(text_of(part).split()) for part in widget.walk_children(Widget) if part.display)


def width(pilot: Pilot[None]) -> int:
    """Columns of the inspector, its edge among them."""
    return chat_screen(pilot).query_one(Side).size.width


def kept(bench: Bench) -> Layout:
    """The layout as the next run will find it."""
    return LayoutFile(bench.folder / "layout.json").load()[0]


# --------------------------------------------------------------------------- zoom


@pytest.mark.parametrize("size", [WIDE, CLASSIC])
async def test_a_zoomed_panel_has_the_screen_and_gives_it_back(bench: Bench, size: tuple[int, int]) -> None:
    """/zoom ledger, from the prompt; the same key and Esc return, to the prompt. In 80 columns too, where the
    inspector is a line: the zoom must not need it open."""
    async with bench.app().run_test(size=size) as pilot:
        await ready(pilot)
        await say(pilot, "/zoom ledger")
        section = panel(pilot, "Ledger")
        await until(pilot, lambda: section.size.width >= size[0] - 2 and section.size.height >= size[1] - 2)
        assert "open" in written(section)
        await pilot.press("shift+f2")
        await until(pilot, lambda: not section.zoomed)
        assert chat_screen(pilot).query_one(Prompt).has_focus
        await pilot.press("shift+f2")
        await until(pilot, lambda: panel(pilot, "Cache").zoomed)
        await pilot.press("escape")
        await until(pilot, lambda: not panel(pilot, "Cache").zoomed)
        assert chat_screen(pilot).query_one(Prompt).has_focus


@pytest.mark.parametrize("size", [WIDE, CLASSIC])
async def test_f9_leads_from_a_zoomed_panel_to_the_prompt(bench: Bench, size: tuple[int, int]) -> None:
    """A panel that kept the screen would hide the prompt that the person then writes into."""
    async with bench.app().run_test(size=size) as pilot:
        await ready(pilot)
        await pilot.press("f9")
        await pilot.press("j", "z")
        await until(pilot, lambda: inspector(pilot).sections[1].zoomed)
        await pilot.press("f9")
        await until(pilot, lambda: chat_screen(pilot).maximized is None)
        await pilot.press("x")
        assert draft(pilot) == "x"


async def test_a_zoomed_panel_follows_the_engine(bench: Bench) -> None:
    """A reply that ends while a panel is zoomed stands in it; afterwards the others have caught up."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f9")
        await pilot.press(*["j"] * list(PANELS).index("Ledger"), "z")
        section = panel(pilot, "Ledger")
        await until(pilot, lambda: section.zoomed)
        assert section.size.height == 36
        chat_screen(pilot).submit("Hello")
        await ready(pilot)
        await until(pilot, lambda: "reply" in written(section))
        await pilot.press("z")
        await until(pilot, lambda: not section.zoomed and section.size.height < 36)
        assert section.title.has_focus
        snapshot = chat_screen(pilot).chat.snapshot  # pyright: ignore[reportOptionalMemberAccess]
        assert snapshot is not None
        await until(pilot, lambda: f"{snapshot.n_used:,}/" in text_of(panel(pilot, "Window").title))


async def test_from_one_zoomed_panel_to_the_next(bench: Bench) -> None:
    """`j` and `k` stay on the full screen; Esc goes back to where the person was before the first one."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("shift+f2")
        await until(pilot, lambda: panel(pilot, "Cache").zoomed)
        await pilot.press("j")
        await until(pilot, lambda: inspector(pilot).sections[1].zoomed and not inspector(pilot).sections[0].zoomed)
        await pilot.press("k", "k")
        await until(pilot, lambda: inspector(pilot).sections[0].zoomed)
        await pilot.press("escape")
        await until(pilot, lambda: chat_screen(pilot).query_one(Prompt).has_focus)


async def test_a_zoomed_panel_that_is_longer_than_the_screen_scrolls(bench: Bench) -> None:
    """Arrows and pages; in its place the same arrows go from panel to panel."""
    async with bench.app().run_test(size=(80, 10)) as pilot:
        await ready(pilot)
        await say(pilot, "/zoom cache")
        section = panel(pilot, "Cache")
        await until(pilot, lambda: section.zoomed and section.max_scroll_y > 0)
        await pilot.press("down", "down")
        await until(pilot, lambda: section.scroll_y > 0)
        assert section.zoomed
        await pilot.press("j")
        await until(pilot, lambda: panel(pilot, "Window").zoomed)


# --------------------------------------------------------------------------- moving, folding, explaining


async def test_into_the_inspector_and_back(bench: Bench) -> None:
    """F9 goes in and out, Esc goes out; `j` and `k` move from title to title, and stop at the ends."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f9")
        sections = inspector(pilot).sections
        assert sections[0].title.has_focus
        await pilot.press("k", "j", "down")
        assert sections[2].title.has_focus
        await pilot.press("up")
        assert sections[1].title.has_focus
        await pilot.press("f9")
        assert chat_screen(pilot).query_one(Prompt).has_focus
        await pilot.press("f9", "escape")
        assert chat_screen(pilot).query_one(Prompt).has_focus


async def test_what_is_typed_right_behind_f9_goes_into_the_inspector(bench: Bench) -> None:
    """Keys that come in one burst, as over a slow line: the letter must not land in the prompt."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        for key in (Key("f9", None), Key("j", "j")):
            pilot.app.post_message(key)
        await until(pilot, lambda: inspector(pilot).sections[1].title.has_focus)
        assert draft(pilot) == ""


async def test_in_eighty_columns_the_inspector_opens_to_be_gone_into(bench: Bench) -> None:
    """F9 opens it over the chat; Esc closes it again and goes back to the prompt."""
    async with bench.app().run_test(size=CLASSIC) as pilot:
        await ready(pilot)
        assert not inspector(pilot).region
        await pilot.press("f9")
        await until(pilot, lambda: inspector(pilot).region.area > 0)
        assert inspector(pilot).has_focus_within
        await pilot.press("escape")
        await until(pilot, lambda: not inspector(pilot).region)
        assert chat_screen(pilot).query_one(Prompt).has_focus


async def test_all_panels_fold_and_unfold(bench: Bench) -> None:
    """/fold folds all, and unfolds all where all are folded; /fold memory does it to one."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "/fold memory")
        expected = {*FOLDED_AT_FIRST, "Memory"}
        await until(pilot, lambda: {name for name, folded in inspector(pilot).folds.items() if folded} == expected)
        await say(pilot, "/fold")
        await until(pilot, lambda: all(section.folded for section in inspector(pilot).present))
        assert inspector(pilot).virtual_size.height <= inspector(pilot).size.height
        await pilot.press("f9", "a")
        await until(pilot, lambda: not any(section.folded for section in inspector(pilot).present))


async def test_a_fold_under_the_cursor_leaves_the_keys_working(bench: Bench) -> None:
    """The cursor is inside the map when it is folded: were the focus lost, the next key would go nowhere."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f9", "tab", "a")
        assert panel(pilot, "Cache").folded
        assert panel(pilot, "Cache").title.has_focus


async def test_an_unknown_panel_is_told_with_the_nearest_name(bench: Bench) -> None:
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await say(pilot, "/zoom ledgre")
        await until(pilot, lambda: any("no panel ledgre. Did you mean ledger?" in line for line in notices(pilot)))


async def test_a_panel_explains_itself(bench: Bench) -> None:
    """/explain memory, `?` on the panel with the focus, and again to hide it."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        before = panel(pilot, "Memory").size.height
        await say(pilot, "/explain memory")
        await until(pilot, lambda: panel(pilot, "Memory").size.height > before)
        await pilot.press("f9", "question_mark")
        await until(pilot, lambda: "Each block stands for" in written(panel(pilot, "Cache")))
        await pilot.press("question_mark")
        await until(pilot, lambda: "Each block stands for" not in written(panel(pilot, "Cache")))


# --------------------------------------------------------------------------- width


async def test_the_inspector_is_widened_by_keys_within_bounds(bench: Bench) -> None:
    """Alt+Left and Alt+Right, four columns a press; the chat keeps 60 columns, the inspector 24."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        assert width(pilot) == 42
        await pilot.press("alt+left")
        await until(pilot, lambda: width(pilot) == 46)
        await pilot.press(*["alt+left"] * 9)
        await until(pilot, lambda: width(pilot) == 60)
        await pilot.press("alt+right")
        await until(pilot, lambda: width(pilot) == 56)
        await say(pilot, "/narrower")
        await until(pilot, lambda: width(pilot) == 52)
        await pilot.press(*["alt+right"] * 12)
        await until(pilot, lambda: width(pilot) == 24)


async def drag(pilot: Pilot[None], column: int) -> None:
    """Move the mouse with its left button pressed; the pilot's own `hover` has none pressed."""
    await pilot._post_mouse_events([MouseMove], None, (column, 9), button=1)  # pyright: ignore[reportPrivateUsage]


async def test_the_edge_is_dragged(bench: Bench) -> None:
    """To the mouse's column, as far as the bounds let it; it stays there when the button is released."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.mouse_down(Edge, offset=(0, 5))
        await drag(pilot, 70)
        await until(pilot, lambda: width(pilot) == 50)
        await drag(pilot, 3)
        await until(pilot, lambda: width(pilot) == 60)
        await pilot.mouse_up(None, offset=(65, 9))
        await until(pilot, lambda: width(pilot) == 55)
        await drag(pilot, 90)
        await pilot.pause()
        assert width(pilot) == 55


async def test_a_release_that_the_edge_did_not_get_ends_the_drag_all_the_same(bench: Bench) -> None:
    """A quick click: the edge would follow the mouse for ever, and no other widget would get a move any more."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.mouse_down(Edge, offset=(0, 5))
        await pilot.hover(None, offset=(70, 9))
        await pilot.pause()
        assert width(pilot) == 42
        assert pilot.app.mouse_captured is None


async def test_a_smaller_screen_takes_the_width_and_a_larger_one_gives_it_back(bench: Bench) -> None:
    """What was asked for is kept, and used as far as there is room."""
    async with bench.app().run_test(size=(160, 36)) as pilot:
        await ready(pilot)
        await pilot.press(*["alt+left"] * 9)
        await until(pilot, lambda: width(pilot) == 78)
        await pilot.resize_terminal(100, 36)
        await until(pilot, lambda: width(pilot) == 40)
        await pilot.resize_terminal(160, 36)
        await until(pilot, lambda: width(pilot) == 78)


# --------------------------------------------------------------------------- remembered


async def test_the_layout_is_there_in_the_next_run(bench: Bench) -> None:
    """Width, folded panels and whether it is shown at all; /layout goes back to what the config says."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("alt+left")
        await say(pilot, "/fold speed")
        await until(pilot, lambda: panel(pilot, "Speed").folded)
        await pilot.press("f2")
        await pilot.press("ctrl+q")
    folded = {name: name in FOLDED_AT_FIRST | {"Speed"} for name in PANELS}
    assert kept(bench) == Layout(shown=False, width=46, folded=folded, views=kept(bench).views)
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        assert not inspector(pilot).region
        await pilot.press("f2")
        await until(pilot, lambda: width(pilot) == 46)
        assert panel(pilot, "Speed").folded
        await say(pilot, "/layout")
        await until(pilot, lambda: width(pilot) == 42 and not panel(pilot, "Speed").folded)
        await until(pilot, lambda: kept(bench) == Layout())


async def test_nothing_arranged_is_nothing_written(bench: Bench) -> None:
    """A config that is changed later must still hold."""
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        await pilot.press("f9", "j", "escape", "ctrl+q")
    assert not (bench.folder / "layout.json").exists()


async def test_a_broken_layout_is_told_and_the_chat_begins(bench: Bench) -> None:
    (bench.folder / "layout.json").write_text('{"width": "wide"}')
    async with bench.app().run_test(size=WIDE) as pilot:
        await ready(pilot)
        assert width(pilot) == 42
        assert any("width is 'wide'" in line and "layout.json.broken" in line for line in notices(pilot))
