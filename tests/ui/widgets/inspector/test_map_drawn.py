"""The map on the screen after any history of events: the very screen of a map that was never drawn before.

Only what has changed is drawn anew (rows of blocks, lines of text, the legend), so anything that was overlooked would
stay on the screen.
"""

import random

import pytest

from chatapp.ui.widgets.inspector import cache_map
from tests.support.presentation.cache_events import STEPS, History, model
from tests.support.ui.map_app import MapApp

SIZE = (40, 24)


async def fresh(app: MapApp) -> str:
    """The screen of a new map that is shown what this one knows."""
    new = MapApp([], app.map.view)
    new.observed = app.observed
    async with new.run_test(size=SIZE) as pilot:
        await pilot.pause()
        return new.export_screenshot()


@pytest.mark.parametrize("seed", range(4))
async def test_what_is_on_the_screen_is_what_would_be_drawn_from_scratch(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every other time looks are sorted out before they are drawn, as those of large caches are."""
    monkeypatch.setattr(cache_map, "AT_ONCE", 0 if seed % 2 else cache_map.AT_ONCE)
    draw = random.Random(seed)
    history = History(draw.choice(["sinks", "slide", "window"]), seed)
    app = MapApp([model()], {"order": "position", "heat": "off"})
    done = 0
    async with app.run_test(size=SIZE) as pilot:
        await pilot.pause()
        for step in range(12):
            history.do(draw.choice(STEPS), draw.randint(1, 20), draw.randint(1, 20))
            app.feed(*(event for event, _ in history.events[done:]))
            done = len(history.events)
            if draw.random() < 0.4:
                draw.choice([app.map.toggle_heat, app.map.toggle_order])()
            await pilot.pause()
            if step % 4 == 3:
                assert app.export_screenshot() == await fresh(app)
