"""The status bar: what happens is told at once, figures no faster than they can be read."""

import pytest
from textual.app import App, ComposeResult
from textual.visual import VisualType

from chatapp.ui.widgets.status import Status, StatusBar
from tests.support.ui.chat_app import until


class Bar(App[None]):
    """A status bar and nothing else."""

    def compose(self) -> ComposeResult:
        yield StatusBar()


async def test_figures_change_now_and_then_and_end_right_and_a_phase_changes_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A line that is drawn with every token is unreadable, and takes time from the model."""
    drawn: list[str] = []
    update = StatusBar.update

    def noted(bar: StatusBar, content: VisualType = "", *, layout: bool = True) -> None:
        drawn.append(str(content))
        update(bar, content, layout=layout)

    monkeypatch.setattr(StatusBar, "update", noted)
    app = Bar()
    async with app.run_test(size=(60, 3)) as pilot:
        bar = app.query_one(StatusBar)
        bar.show(Status("replying", window="0 tokens"))
        del drawn[:]
        for count in range(1, 50):
            bar.show(Status("replying", window=f"{count} tokens"))
        assert drawn == []
        await until(pilot, lambda: bool(drawn))
        assert drawn == [" replying  49 tokens"]
        bar.show(Status("ready", window="50 tokens"))
        assert drawn[1:] == [" ready  50 tokens"]
        await pilot.pause(0.6)
        assert len(drawn) == 2, "nothing is drawn for nothing"
