"""Widgets that ask for a layout only where their height changes."""

import pytest
from textual._compositor import Compositor, ReflowResult
from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.content import Content
from textual.geometry import Size
from textual.widget import Widget
from textual.widgets import Static

from chatapp.ui.textual_fixes.steady import STEP, SteadyStatic


class Lines(App[None]):
    """One text in a column."""

    def __init__(self, text: Static) -> None:
        super().__init__()
        self.text = text

    def compose(self) -> ComposeResult:
        """It."""
        with VerticalScroll():
            yield self.text


async def layouts(text: Static, monkeypatch: pytest.MonkeyPatch, *updates: str) -> list[int]:
    """How often the screen was laid out for each of these texts."""
    counted: list[int] = []
    reflow = Compositor.reflow

    def counting(compositor: Compositor, parent: Widget, size: Size) -> ReflowResult:
        counted[-1] += 1
        return reflow(compositor, parent, size)

    async with Lines(text).run_test() as pilot:
        await pilot.pause()
        monkeypatch.setattr(Compositor, "reflow", counting)
        for update in updates:
            counted.append(0)
            text.update(Content(update))
            await pilot.pause()
    return counted


async def test_a_text_of_the_same_height_lays_nothing_out(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = await layouts(SteadyStatic(Content("a")), monkeypatch, "b", "a word more", "two\nlines")
    assert counts[:2] == [0, 0]
    assert counts[2] > 0


async def test_one_that_grows_takes_its_lines_in_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    text = SteadyStatic(Content("a"))
    text.grows = True
    counts = await layouts(text, monkeypatch, *("\n".join("abcdefg"[: n + 1]) for n in range(1, 7)))
    assert [n for n, count in enumerate(counts, start=2) if count] == [n for n in range(2, 8) if n % STEP == 1]


async def test_textual_alone_still_lays_out_with_every_update(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, the fix can be removed."""
    assert all(await layouts(Static(Content("a")), monkeypatch, "b", "c"))
