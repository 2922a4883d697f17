"""How large the zoomed map is: all of the screen for single cells, and no more blocks than can be drawn in time."""

import msgspec
import pytest

from chatapp.ui.widgets.inspector.cache_map import AROUND_ROWS, MAP_ROWS, MOST_BLOCKS
from chatapp.ui.widgets.inspector.cell_grid import CellGrid
from chatapp.ui.widgets.inspector.section import Section
from tests.support.presentation.inspector_events import past_the_window
from tests.support.ui.map_app import MapApp

BY_POSITION = {"order": "position", "heat": "off"}


@pytest.mark.parametrize(
    ("size", "n_ctx", "rows"),
    [
        ((120, 36), 2048, 2048 // 120 + 1),  # a block a cell
        ((120, 36), 4096, max(MAP_ROWS, MOST_BLOCKS // 120)),
        ((120, 36), 131_072, max(MAP_ROWS, MOST_BLOCKS // 120)),
        ((200, 60), 8192, 8192 // 200 + 1),
        ((400, 60), 131_072, MAP_ROWS),  # never fewer than beside the chat
        ((80, 24), 131_072, max(MAP_ROWS, 24 - AROUND_ROWS)),
    ],
)
async def test_rows_of_the_zoomed_map(size: tuple[int, int], n_ctx: int, rows: int) -> None:
    app = MapApp([msgspec.structs.replace(past_the_window(), n_ctx=n_ctx)], BY_POSITION)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        app.screen.maximize(app.query_one(Section), container=False)
        await pilot.pause()
        app.draw()
        await pilot.pause()
        grid = app.query_one("#global", CellGrid)
        assert grid.size.height in (rows, rows - 1)
        assert sum(group.n for group in grid.groups) == n_ctx
        assert len(grid.groups) == n_ctx or len(grid.groups) <= max(MOST_BLOCKS, MAP_ROWS * grid.size.width)
