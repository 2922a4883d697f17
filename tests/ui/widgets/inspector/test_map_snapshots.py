"""What a person sees of the cache map with the heat on it, and by cell: narrow and wide, with colour and without."""

from collections.abc import Callable, Mapping

import pytest

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Probed, Spelled
from chatapp.protocol.values import CellRun
from tests.support.presentation.inspector_events import NOON_S, hybrid, loaded
from tests.support.presentation.looks import look, sight
from tests.support.ui.map_app import MapApp

Compare = Callable[..., bool]
HEAT = {"order": "position", "heat": "on"}
BOTH = {"order": "cell", "heat": "on"}
NARROW, WIDE = (40, 24), (120, 24)


def level(pos: int, newest: int, sinks: int) -> int:
    """A quarter of the attention on the first token, 1% on the newest, little on what is far."""
    if pos < sinks:
        return 239 - 24 * pos
    return max(110, 202 - (newest - pos) // 6) + (12 if pos % 97 == 0 else 0)


def looked() -> Probed:
    """A look into `hybrid()` some 40 tokens before: its cells in four pieces, the window's rolled by half."""
    runs = [*hybrid().runs]
    last = runs[-1]
    runs[-1] = CellRun(turn=last.turn, role=last.role, kind=last.kind, pos=last.pos, n=last.n - 40)
    end = last.pos + last.n - 40
    heat = {pos: level(pos, end - 1, 4) for pos in range(end)}
    near = {pos: byte for pos, byte in heat.items() if pos >= end - 512}
    placed = [(0, 0, 4), (4, 700, 500), (560, 4, 696), (1300, 1200, end - 1200)]
    rolled = [(0, end - 200, 200), (456, end - 512, 312)]
    return look(runs, sight(placed, heat, n_cells=1792), sight(rolled, near, kind="swa", n_cells=768), turn=8)


def events() -> list[AnyEvent]:
    """A hybrid model, looked into."""
    return [loaded(2048, 512, 768), looked(), hybrid()]


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize("view", [HEAT, BOTH], ids=["heat", "by-cell"])
@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
def test_the_map_is_looked_at_in_two_ways(
    snap_compare: Compare, monkeypatch: pytest.MonkeyPatch, view: Mapping[str, str], size: tuple[int, int], colour: bool
) -> None:
    """Heat: bars as high as the attention on dimmed blocks (digits 1 to 7 without colour), highest on the sinks and at
    the end; the newest 40 tokens are hatched (/), for the look did not see them; a note says whose attention it is, and
    the legend has the scale. By cell: the cells in four pieces with dashes between them, the window's strip begins in
    the middle of a turn, a note says from when that is, and no bracket is drawn."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(MapApp(events(), view), terminal_size=size)


def test_a_block_under_the_cursor(snap_compare: Compare) -> None:
    """A cross on a block near the beginning; below it turn, cells, positions, age, first words, attention."""
    words = Spelled(at_s=NOON_S, pos=4, tokens=[1] * 8, pieces=["The", " cat", " is", " on", " a", " chair", ".", "\n"])
    app = MapApp([*events(), words], HEAT)
    assert snap_compare(app, terminal_size=NARROW, press=["tab", "home", "right"])
