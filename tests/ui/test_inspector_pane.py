"""The inspector's pane on a screen that is neither the chat's nor a replay's."""

from pathlib import Path

import pytest
from textual.app import App, ComposeResult
from textual.containers import Container
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Input

from chatapp.config.models import UiConfig
from chatapp.ui.inspector_pane import InspectorPane, KeptLayout
from chatapp.ui.layout import STEP, Layout, LayoutFile
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
from chatapp.ui.widgets.inspector.side import Side

WIDE, NARROW = (140, 36), (80, 24)


class PaneScreen(Screen[None]):
    """An inspector, and a line that the keys go back to."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.changes: list[Layout] = []
        self.pane = InspectorPane(self, UiConfig(), layout, home=Input, changed=self.changes.append)
        self.pane.fill(Inspector(), InspectorLine())

    def compose(self) -> ComposeResult:
        yield Input()
        with Side(id="side"):
            yield self.pane.inspector
        with Container(id="inspector-line"):
            yield self.pane.line

    def on_mount(self) -> None:
        self.pane.apply_layout()


class PaneApp(App[None]):
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]

    def __init__(self, layout: Layout | None = None) -> None:
        super().__init__()
        self.pane_screen = PaneScreen(layout or Layout())

    def get_default_screen(self) -> PaneScreen:
        """The one under test."""
        return self.pane_screen


async def test_on_a_wide_screen_it_is_shown_and_hidden_for_good() -> None:
    """The next run finds it so."""
    app = PaneApp(Layout(shown=True))
    async with app.run_test(size=WIDE):
        screen = app.pane_screen
        screen.pane.enter()
        assert screen.pane.has_focus
        screen.pane.toggle()
        assert not screen.has_class("-inspect")
        assert isinstance(screen.focused, Input)
        assert [layout.shown for layout in screen.changes] == [False]


async def test_on_a_narrow_screen_it_lies_over_the_rest_for_now() -> None:
    """What is shown beside the conversation on a wide screen stays as it was arranged."""
    app = PaneApp(Layout(shown=True))
    async with app.run_test(size=NARROW):
        screen = app.pane_screen
        assert screen.pane.as_line
        screen.pane.toggle()
        assert screen.has_class("-overlay")
        assert screen.pane.leave()
        assert not screen.has_class("-overlay")
        assert not screen.pane.leave(), "there is nothing to leave"
        assert screen.changes == []


async def test_a_width_is_counted_from_the_columns_that_there_are() -> None:
    """A layout of a wider screen wants more than there is room for; one key makes it narrower all the same."""
    app = PaneApp(Layout(width=500))
    async with app.run_test(size=WIDE) as pilot:
        screen = app.pane_screen
        before = screen.query_one(Side).size.width
        screen.pane.widen(-1)
        await until_width(pilot, screen, before - STEP)
        assert screen.pane.layout.width == before - STEP
        screen.pane.reset()
        assert screen.pane.layout == Layout()


async def until_width(pilot: Pilot[None], screen: PaneScreen, width: int) -> None:
    """Let it be laid out."""
    for _ in range(100):
        await pilot.pause()
        if screen.query_one(Side).size.width == width:
            return
    assert screen.query_one(Side).size.width == width


@pytest.mark.parametrize("leaves_at_once", [True, False])
async def test_the_last_of_several_changes_is_written(tmp_path: Path, leaves_at_once: bool) -> None:
    """After a moment's rest, or at the end of the program."""
    file = LayoutFile(tmp_path / "layout.json")
    app = PaneApp()
    async with app.run_test(size=WIDE) as pilot:
        kept = KeptLayout(app.pane_screen, file)
        assert kept.load() == (Layout(), "")
        kept.change(Layout(width=40))
        kept.change(Layout(width=44))
        assert file.load()[0] == Layout()
        if leaves_at_once:
            kept.keep_now()
        for _ in range(200):
            if file.load()[0].width is not None:
                break
            await pilot.pause(0.02)
        assert file.load()[0] == Layout(width=44)
