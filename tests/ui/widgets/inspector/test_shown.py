"""An inspector that Textual does not tell that it is on the screen."""

import pytest
from textual.events import Show

from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.section import SectionTitle
from tests.support.presentation.inspector_events import loaded, past_the_window
from tests.support.ui.inspector_app import InspectorApp, text_of


async def test_without_a_show_it_draws_all_the_same() -> None:
    """A scroll elsewhere at the wrong moment keeps Textual from sending Show: the inspector stayed empty for good."""
    app = InspectorApp()
    async with app.run_test(size=(42, 36)) as pilot:
        inspector = Inspector()
        inspector.disable_messages(Show)
        app.query_one(Inspector).remove()
        await app.query_one("#side").mount(inspector)
        await pilot.pause()
        for event in (loaded(), past_the_window()):
            inspector.show(event)
        await pilot.pause(0.1)
        assert "412/512" in text_of(inspector.query(SectionTitle)[1])


@pytest.mark.parametrize("height", [16, 30, 46])
async def test_what_is_unfolded_out_of_sight_is_drawn_when_it_comes_into_sight(height: int) -> None:
    """Above it others are folded: where it will stand is known only after the layout."""
    app = InspectorApp([loaded(), past_the_window()])
    async with app.run_test(size=(42, height)) as pilot:
        await pilot.pause(0.1)
        inspector = app.query_one(Inspector)
        for section in inspector.present:
            section.fold(section.label != "Reach")
        await pilot.pause(0.1)
        *others, reach = [text_of(section.title)[0] for section in inspector.present]
        assert ({*others}, reach) == ({"▸"}, "▾")
        assert "global: all" in text_of(inspector.section("reach").body)
