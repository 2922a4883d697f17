"""Replies as Markdown: nothing of the text is lost, however it comes and whatever it holds."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual._compositor import Compositor, ReflowResult
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.geometry import Size
from textual.timer import Timer
from textual.widget import Widget
from textual.widgets import Tooltip

from chatapp.text import visible
from chatapp.ui.frame_pace import FramePace
from chatapp.ui.textual_fixes.steady import STEP
from chatapp.ui.widgets.transcript.markdown_stream import INTERVAL_S, FenceSplitter, StreamedMarkdown
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, ready, say, until

PARTS = st.sampled_from(
    ["`", "```", "```py\n", "~~~\n", "\n", "    ", "- ", "1. ", "> ", "word ", "[a](", "http://x.y)",
     "| a | b |\n|---|---|\n", "<b>", "</b>", "<!-- ", "&amp;", "[/bold]", "[red]", "# ", "*", "_", "![i](j)",
     "\t", "\\", "é", "👩‍👩‍👧", "\x1b[31m", "\x85"]
)  # fmt: skip
TEXT = st.lists(st.one_of(PARTS, st.text(max_size=8)), max_size=40).map("".join)


class One(App[None]):
    """A reply and nothing else."""

    CSS = "StreamedMarkdown, .tail { height: auto; width: 1fr; }"

    def __init__(self, text: str = "", *, markdown: bool = True) -> None:
        super().__init__()
        self.body = StreamedMarkdown(text, markdown=markdown)

    def compose(self) -> ComposeResult:
        with VerticalScroll():
            yield self.body


@given(TEXT, st.lists(st.integers(1, 9), min_size=1, max_size=9))
def test_what_is_let_through_and_what_is_held_back_are_the_whole_text(text: str, sizes: list[int]) -> None:
    """In every cut of the text into pieces; and a held block begins at the beginning of its line."""
    splitter = FenceSplitter()
    through, rest = "", text
    for size in sizes * (len(text) // len(sizes) + 1):
        through += splitter.feed(rest[:size])
        rest = rest[size:]
        assert through + splitter.held + rest == text
    if splitter.code is not None:
        assert through.rpartition("\n")[2].strip(" \t>-*+.)0123456789") == ""


def test_an_open_code_block_is_held_back_until_it_is_closed() -> None:
    """So that its lines are not parsed again with every word."""
    splitter = FenceSplitter()
    assert splitter.feed("Look:\n```py\nx = 1\n") == "Look:\n"
    assert splitter.code == "x = 1\n"
    assert splitter.feed("``") == ""
    assert splitter.feed("`\nDone") == "```py\nx = 1\n```\nDone"
    assert splitter.code is None


def test_words_after_the_mark_that_opens_a_code_block_are_its_first_line() -> None:
    """A language alone is not shown, neither while the block is open nor later."""
    splitter = FenceSplitter()
    splitter.feed("```py title='a'\nx = 1\n")
    assert splitter.code == "py title='a'\nx = 1\n"


def test_inline_code_at_the_beginning_of_a_line_is_not_held_for_long() -> None:
    splitter = FenceSplitter()
    assert splitter.feed("`a` is") == ""
    assert splitter.feed(" it\n") == "`a` is it\n"


@settings(max_examples=12)
@given(st.lists(TEXT.map(visible), min_size=5, max_size=5))
def test_no_text_of_a_model_ends_the_program(texts: list[str]) -> None:
    """Streamed in pieces and drawn as a whole: whatever a model writes is drawn, not obeyed, and nothing raises."""

    async def draw() -> None:
        app = One()
        async with app.run_test() as pilot:
            for text in texts:
                await app.body.remove()
                app.body = StreamedMarkdown()
                await app.query_one(VerticalScroll).mount(app.body)
                for start in range(0, len(text), 7):
                    app.body.feed(text[start : start + 7])
                    await pilot.pause()
                app.body.finish(text)
                for _ in range(200):
                    await pilot.pause(0.005)
                    if app.body.settled:
                        break
                assert app.body.settled

    asyncio.run(draw())


async def test_html_and_markup_in_a_reply_are_text(tmp_path: Path) -> None:
    """`List<String>`, `[bold]` and escape sequences appear as they were written; no link target is opened."""
    html = "Use List<String> or <b>this</b>.\n\n<div>a block</div>\n\n"
    text = f"{html}No [bold]markup[/bold] and no \x1b[31mcolour\x1b]52;c;aGk=\x07."
    bench = Bench(tmp_path, [Script(replies=(text,))])
    app = bench.app()
    async with app.run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await say(pilot, text)
        await ready(pilot)
        lines = screen_text(app)
        for word in (
            "List<String>",
            "<b>this</b>",
            "<div>a block</div>",
            "[bold]markup[/bold]",
            "␛[31mcolour␛]52;c;aGk=␇",
        ):
            assert lines.count(word) == 2, word
        assert "\x1b" not in lines
        assert bench.stored()[0][2] == bench.stored()[1][2] == text


async def test_lines_stay_lines(tmp_path: Path) -> None:
    """A poem of four lines is drawn on four lines."""
    bench = Bench(tmp_path, [Script(replies=("Roses are red,\nviolets are blue,\nsugar is sweet.",))])
    app = bench.app()
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "A poem")
        await ready(pilot)
        lines = [line.strip(" ▌") for line in screen_text(app).splitlines()]
        assert "Roses are red," in lines
        assert "violets are blue," in lines


async def test_a_link_is_shown_before_it_is_opened(tmp_path: Path) -> None:
    """A click on its words opens a dialog with the whole address; only Enter opens a browser, and never a file."""
    opened: list[str] = []
    bench = Bench(
        tmp_path, [Script(replies=("See [your bank](https://evil.example/x) or [this](mailto:a@example.org).",))]
    )
    app = bench.app()
    app.open_url = lambda url, new_tab=True: opened.append(url)
    async with app.run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Where?")
        await ready(pilot)
        for words, expected in (("your bank", ["https://evil.example/x"]), ("this", ["https://evil.example/x"])):
            row, line = next((y, line) for y, line in enumerate(screen_text(app).splitlines()) if "your bank" in line)
            await pilot.click(offset=(line.index(words) + 1, row))
            await until(pilot, lambda: app.screen is not app.get_default_screen())
            assert opened == expected[: len(opened)]
            await pilot.press("enter")
            await pilot.pause()
            if app.screen is not app.get_default_screen():
                await pilot.press("escape")
                await pilot.pause()
            assert opened == expected


async def test_a_table_cell_under_the_mouse_is_text_too(tmp_path: Path) -> None:
    """Its tooltip shows what the cell says: a broken tag in it is neither obeyed nor fatal."""
    bench = Bench(tmp_path, [Script(replies=("| [/red] | b |\n|---|---|\n| [/nope] | [b]x[/b] |\n",))])
    app = bench.app()
    async with app.run_test(tooltips=True) as pilot:
        await ready(pilot)
        await say(pilot, "A table")
        await ready(pilot)
        row, line = next((y, line) for y, line in enumerate(screen_text(app).splitlines()) if "[/nope]" in line)
        await pilot.hover(offset=(line.index("[/nope]") + 1, row))
        await until(pilot, lambda: "[/nope]" in str(app.screen.query_one(Tooltip).render()))


async def test_a_long_reply_grows_without_slowing_down_and_is_whole_at_the_end(tmp_path: Path) -> None:
    """A code block of 400 lines and a list of 200 entries, streamed word by word."""
    code = "```python\n" + "".join(f"value_{number} = {number} * 2\n" for number in range(400)) + "```\n\n"
    text = code + "".join(f"- entry {number}\n" for number in range(200))
    app = One()
    async with app.run_test() as pilot:
        for start in range(0, len(text), 5):
            app.body.feed(text[start : start + 5])
            if start % 500 == 0:
                await pilot.pause()
        app.body.finish(text)
        for _ in range(1000):
            await pilot.pause(0.01)
            if app.body.settled:
                break
        kinds = [type(block).__name__ for block in app.body.query("SafeMarkdown > *")]
        assert kinds == ["MarkdownFence", "MarkdownBulletList"]


@pytest.mark.parametrize("markdown", [True, False])
async def test_a_reply_that_grows_lays_out_the_screen_once_for_several_lines(
    monkeypatch: pytest.MonkeyPatch, markdown: bool
) -> None:
    """Each layout moves all that is seen of a conversation, and takes time from a model that decodes."""
    layouts = 0
    reflow = Compositor.reflow

    def counted(compositor: Compositor, parent: Widget, size: Size) -> ReflowResult:
        nonlocal layouts
        layouts += 1
        return reflow(compositor, parent, size)

    monkeypatch.setattr(Compositor, "reflow", counted)
    app = One(markdown=markdown)
    async with app.run_test(size=(40, 24)) as pilot:

        async def feed(text: str) -> tuple[int, int]:
            """Height, and layouts that it took."""
            before = layouts
            app.body.feed(text)
            await until(pilot, lambda: app.body.settled)
            await pilot.pause(0.1)
            return app.body.size.height, layouts - before

        one_line, _ = await feed("One")
        assert await feed(" word more") == (one_line, 0)
        assert await feed(" and a second line of this paragraph") == (one_line, 0)
        assert await feed(" which now needs a third and then even a fourth one, though not a fifth") == (
            one_line + STEP,
            1,
        )
        if markdown:
            # The last paragraph gives up its room and has a margin, and the new one asks for no layout of its own.
            _, for_a_paragraph = await feed("\n\nAnother")
            assert for_a_paragraph == 1
        drawn: list[int] = []
        app.body.finish(
            "One word more and a second line of this paragraph.", lambda: drawn.append(len(app.body.query("*")))
        )
        assert not drawn, "what follows the text is not shown before the text is"
        await until(pilot, lambda: app.body.settled)
        assert drawn == [len(app.body.query("*"))]
        await pilot.pause(0.1)
        assert app.body.size.height == one_line - 1, "what is whole has no room below"


@pytest.mark.parametrize(("sparing", "wait_s"), [(True, 0.7), (False, INTERVAL_S)])
async def test_a_reply_that_comes_word_by_word_keeps_the_pace_too(
    monkeypatch: pytest.MonkeyPatch, sparing: bool, wait_s: float
) -> None:
    """Where each word comes after the last drawing, drawings are no closer than their cost allows; with nothing to be
    spared, than the interval."""
    app = One()
    async with app.run_test(size=(40, 24)) as pilot:
        app.body.feed("One")
        await until(pilot, lambda: app.body.settled)
        waits: list[float] = []
        set_timer = app.body.set_timer

        def noted(delay: float, callback: Callable[[], None]) -> Timer:
            waits.append(delay)
            return set_timer(delay, callback)

        def pause(_pace: FramePace, _now_s: float, *, sparing: bool) -> float:
            return 0.7 if sparing else 0.0

        monkeypatch.setattr(app.body, "set_timer", noted)
        monkeypatch.setattr(FramePace, "wait_s", pause)
        app.body.feed(" two", sparing=sparing)
        assert waits == [wait_s]


async def test_a_reply_ends_whole_where_a_dialog_that_closes_takes_the_callback_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Textual hands a callback after a refresh to the topmost screen; one that is closed never calls it."""

    def lost(_body: StreamedMarkdown, _callback: Callable[[], None]) -> bool:
        return True

    monkeypatch.setattr(StreamedMarkdown, "call_after_refresh", lost)
    app = One()
    async with app.run_test(size=(40, 24)) as pilot:
        app.body.feed("One")
        await until(pilot, lambda: "One" in screen_text(app))
        app.body.feed(" two")
        app.body.finish("One two three")
        await until(pilot, lambda: "One two three" in screen_text(app))


def screen_text(app: App[None]) -> str:
    """What is on the screen, as a person reads it."""
    width, height = app.size
    lines = app.screen._compositor.render_strips()  # pyright: ignore[reportPrivateUsage] - there is no public way
    return "\n".join(strip.text for strip in lines[:height])[: (width + 1) * height]
