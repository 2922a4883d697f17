"""A screen draws what has changed on it, asks no other widget for that, and leaves nothing old behind."""

import pyte
from hypothesis import given, settings
from hypothesis import strategies as st
from pyte.screens import Char
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.app import App, ComposeResult
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.geometry import Region, Size
from textual.messages import Update
from textual.screen import Screen
from textual.strip import Strip
from textual.widget import Widget

from chatapp.ui.textual_fixes.compositor import SparingScreen

SIZE = (40, 12)
NAMES = tuple("abcdefgh")
COLOURS = ("red", "green", "#4080c0")


class Letters(Widget):
    """Filled with its name and a number that can change; keeps count of the lines it was asked for."""

    DEFAULT_CSS = "Letters { height: 3; width: 1fr; }"

    def __init__(self, name: str) -> None:
        super().__init__(id=name, classes="letters")
        self.number = 0
        self.asked = 0

    def render_lines(self, crop: Region) -> list[Strip]:
        """Count them."""
        self.asked += crop.height
        return super().render_lines(crop)

    def render_line(self, y: int) -> Strip:
        """As `a70a70a70`: name, number, line."""
        text = f"{self.id}{self.number % 10}{y}" * self.size.width
        style = self.rich_style + Style(color=COLOURS[self.number % 3], bold=self.number % 2 == 0)
        return Strip([Segment(text, style)]).crop(0, self.size.width)


class Corners(SparingScreen):
    """A column that scrolls, one beside it, a line below, and a widget over all of them."""

    DEFAULT_CSS = """
    Corners { layers: base over; }
    Corners #h { layer: over; dock: right; width: 9; height: 4; margin: 2 6 0 0; }
    Corners #g { height: 1; }
    Corners #main { height: 1fr; }
    """

    def compose(self) -> ComposeResult:
        """Eight widgets."""
        with Horizontal(id="main"):
            with VerticalScroll(can_focus=False):
                yield from map(Letters, "abcd")
            with Vertical():
                yield from map(Letters, "ef")
        yield Letters("g")
        yield Letters("h")


class CornersApp(App[None]):
    """See `Corners`; keeps a terminal that gets all that is drawn."""

    def __init__(self) -> None:
        super().__init__()
        self.terminal = pyte.Screen(*SIZE)
        self.stream = pyte.Stream(self.terminal)

    def get_default_screen(self) -> Screen[None]:
        """The corners."""
        return Corners()

    def _display(self, screen: Screen[object], renderable: object) -> None:
        """To the terminal."""
        if isinstance(renderable, ChopsUpdate | LayoutUpdate):
            self.stream.feed(renderable.render_segments(self.console).replace("\n", "\r\n"))


def letters(app: CornersApp, name: str) -> Letters:
    """The widget of this name."""
    return app.screen.query_one(f"#{name}", Letters)


def cells_of(terminal: pyte.Screen) -> list[list[Char]]:
    """Each cell with its colours and attributes."""
    return [[terminal.buffer[y][x] for x in range(SIZE[0])] for y in range(SIZE[1])]


def whole(app: CornersApp) -> list[list[Char]]:
    """What a drawing of the whole screen would show."""
    compositor, fresh = app.screen._compositor, pyte.Screen(*SIZE)  # pyright: ignore[reportPrivateUsage]
    update = compositor.render_full_update()
    pyte.Stream(fresh).feed(update.render_segments(app.console).replace("\n", "\r\n"))
    return cells_of(fresh)


Change = tuple[str, str, int]


def frame_of(*ways: str) -> st.SearchStrategy[list[Change]]:
    """The changes of one frame."""
    return st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(ways), st.integers(0, 5)), min_size=1, max_size=4)


CHANGES = frame_of("all", "line", "higher", "gone") | frame_of("all", "line", "scroll")
"""No frame scrolls and moves a widget beside: Textual 8.2.8, with its own compositor, too, does not draw the latter."""


def change(app: CornersApp, name: str, how: str, much: int) -> None:
    """One change of one widget."""
    widget = letters(app, name)
    widget.number += 1
    match how:
        case "all":
            widget.refresh()
        case "line":
            y = much % max(1, widget.size.height)
            widget.refresh(Region(0, y, widget.size.width, 1))
        case "higher":
            widget.styles.height = 1 + much
        case "gone":
            widget.display = not widget.display
        case _:
            app.screen.query_one(VerticalScroll).scroll_to(y=much, animate=False)


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(CHANGES, min_size=1, max_size=5))
async def test_what_is_drawn_piece_by_piece_is_the_whole_screen(frames: list[list[Change]]) -> None:
    """Whatever changes in one frame and in the next: the terminal shows what a drawing from scratch would.

    A widget of which only a line was told to have changed shows its new number in that line alone, also from scratch.
    """
    app = CornersApp()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        for changes in frames:
            for each in changes:
                change(app, *each)
            await pilot.pause()
            assert cells_of(app.terminal) == whole(app)


async def test_two_corners_that_change_leave_what_is_between_them_alone() -> None:
    """Textual draws all that lies in the rectangle around both: here that would be the whole screen."""
    app = CornersApp()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        for widget in app.screen.query(Letters):
            widget.asked = 0
        letters(app, "g").number = 7
        letters(app, "g").refresh()
        letters(app, "e").number = 5
        letters(app, "e").refresh(Region(0, 1, SIZE[0] // 2, 1))
        await pilot.pause()
        asked = {widget.id: widget.asked for widget in app.screen.query(Letters)}
        assert asked == {**dict.fromkeys(NAMES, 0), "g": 1, "e": 1}
        assert app.terminal.display[1].startswith("e5", SIZE[0] // 2)
        assert app.terminal.display[-1].startswith("g70")
        assert cells_of(app.terminal) == whole(app)


async def test_what_changes_between_a_layout_and_its_drawing_is_drawn() -> None:
    """Inside `batch_update`, as at a start, a layout is drawn later: what changed meanwhile stayed old for good."""
    app = CornersApp()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        screen, widget = app.screen, letters(app, "g")
        with app.batch_update():
            screen._refresh_layout(Size(*SIZE))  # pyright: ignore[reportPrivateUsage]
            widget.number = 7
            widget.refresh()
            widget._repaint_required = False  # pyright: ignore[reportPrivateUsage]  its message came just before
            await screen._on_update(Update(widget))  # pyright: ignore[reportPrivateUsage]
        await pilot.pause()
        assert app.terminal.display[-1].startswith("g70")
        assert cells_of(app.terminal) == whole(app)


class Sized(SparingScreen):
    """Counts the sizes that it is told, and has something to do after each, as the chat has."""

    told = 0

    def on_resize(self) -> None:
        """Count it."""
        self.told += 1
        assert self.told < 50, "each size brings back the other"
        self.call_later(lambda: None)


async def test_two_sizes_at_once_end_with_that_of_the_terminal() -> None:
    """A size that the terminal has no more, and another message before the right one: the screen comes to rest."""
    screen = Sized()

    class SizedApp(App[None]):
        def get_default_screen(self) -> Screen[None]:
            return screen

    async with SizedApp().run_test(size=SIZE) as pilot:
        for size in (Size(9, 5), Size(*SIZE)):
            screen.post_message(events.Resize(size, size))
            screen.call_later(lambda: None)
        await pilot.pause()
        assert screen.size == Size(*SIZE)
