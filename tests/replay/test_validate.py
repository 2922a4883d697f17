"""Pictures that a trace may hold and no engine would send: they are refused with their line, and end nothing."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from chatapp.protocol.events import Probed, Snapshot
from chatapp.protocol.values import CellRun, LayerSight, Sight, TopCell
from chatapp.replay.index import Index
from chatapp.replay.validate import problem
from tests.support.fake_engine.script import Script
from tests.support.presentation.inspector_events import conversation, hybrid, past_the_window, snapshot
from tests.support.traces import record, sends

SOUND = snapshot(conversation([(10, 20), (5, 40)]))


def look(runs: list[CellRun]) -> Probed:
    """A look at these runs, in a cache where they lie one after the other."""
    n = sum(run.n for run in runs)
    sight = Sight(
        kind="global", n_cells=512, n_visible=n, placed=[(0, 0, n)], shares=[0.1] * len(runs), heat=bytes(-(-n // 2)),
        heat_tok=2, top=[TopCell(cell=1, pos=1, share=0.1)],
    )  # fmt: skip
    layer = LayerSight(
        layer=0, kind="global", kept=b"\0", learned=b"", runs=bytes(len(runs)), norm=None, experts=[], expert_weights=[]
    )
    return Probed(at_s=1.0, pos=n, runs=runs, sink_share=0.3, sights=[sight], layers=[layer], mismatch=None, ms=1.0)


LOOK = look(SOUND.runs)


def test_what_engines_send_is_sound(tmp_path: Path) -> None:
    """Refusing it would leave holes in a good trace."""
    record(tmp_path / "t", sends(12, 40), Script(n_ctx=256))
    with Index(tmp_path / "t") as index:
        assert [problem(index.entry(entry)) for entry in range(len(index))] == [None] * len(index)
    assert [problem(line) for line in (SOUND, LOOK, past_the_window(), hybrid(), snapshot())] == [None] * 5


def sight(**changes: Any) -> Callable[[], Probed]:
    """The look with another sight."""
    return lambda: replace(LOOK, sights=[replace(LOOK.sights[0], **changes)])


@pytest.mark.parametrize(
    "made",
    [
        lambda: replace(SOUND, n_ctx=0),
        lambda: replace(SOUND, n_ctx=10**12),
        lambda: replace(SOUND, n_used=-1),
        lambda: replace(SOUND, n_used=513),
        lambda: replace(SOUND, runs=[replace(SOUND.runs[0], n=-5)]),
        lambda: replace(SOUND, runs=[replace(SOUND.runs[0], n=10**9)]),
        lambda: replace(SOUND, runs=SOUND.runs[::-1]),
        lambda: replace(SOUND, ghosts=[replace(past_the_window().ghosts[0], tokens=-3)]),
        lambda: replace(LOOK, layers=[replace(LOOK.layers[0], runs=b"")]),
        sight(heat_tok=0),
        sight(heat=b"\0"),
        sight(n_visible=10**6),
        sight(shares=[]),
        sight(placed=[(0, 0, 3)]),
        sight(placed=[(0, -1, 3)]),
    ],
)
def test_what_no_engine_sends_is_refused(made: Callable[[], Snapshot | Probed]) -> None:
    """Each of these would end a replay, or keep it busy for good."""
    assert problem(made()) is not None
