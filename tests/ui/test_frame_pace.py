"""How often the inspector is drawn."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chatapp.protocol.values import Buffers, Memory
from chatapp.ui.frame_pace import LONGEST_PAUSE_S, FramePace, decodes_here
from tests.support.presentation.inspector_events import loaded


def test_no_more_often_than_the_frame_rate() -> None:
    """The first one at once; the next one an interval after it began."""
    pace = FramePace(0.05, 0.03)
    assert pace.wait_s(10.0, sparing=True) == 0.0
    pace.begin(10.0)
    assert round(pace.wait_s(10.02, sparing=True), 6) == 0.03
    assert pace.wait_s(12.0, sparing=True) == 0.0


def test_dear_drawings_are_rarer_and_one_that_is_slow_by_chance_changes_nothing() -> None:
    """6 ms at 3% of a processor: 200 ms from one to the next; where nothing is to be spared, the frame rate's 50."""
    pace = FramePace(0.05, 0.03)
    for cost_s in (0.006, 0.006, 0.4, 0.006, 0.006):
        pace.end(cost_s)
    pace.begin(10.0)
    assert [round(pace.wait_s(10.0, sparing=sparing), 6) for sparing in (True, False)] == [0.2, 0.05]


def test_dear_drawings_that_come_again_and_again_count() -> None:
    """Of eight drawings three cost five times as much as the others: not the middle one says what is spent."""
    pace = FramePace(0.05, 0.03)
    for cost_s in (0.002, 0.002, 0.01, 0.002, 0.002, 0.01, 0.002, 0.01):
        pace.end(cost_s)
    pace.begin(10.0)
    assert round(pace.wait_s(10.0, sparing=True), 4) == round(0.03 / 7 / 0.03, 4)


@given(costs=st.lists(st.floats(0, 10), max_size=12), interval_s=st.floats(0.001, 1.0))
def test_it_never_stands_still_and_never_hurries(costs: list[float], interval_s: float) -> None:
    """However dear a drawing is, the picture moves once a second."""
    pace = FramePace(interval_s, 0.03)
    for cost_s in costs:
        pace.end(cost_s)
    assert interval_s <= pace.sparing_pause_s <= max(interval_s, LONGEST_PAUSE_S)


def test_drawing_is_spared_where_the_model_decodes_on_the_same_processors() -> None:
    """Not where all of its layers are on a card; one layer here is enough to wait for it."""
    words = Buffers(device="CPU", memory=Memory(weights_bytes=9, compute_bytes=9))
    layer = Buffers(device="CPU", memory=Memory(weights_bytes=9, kv_bytes=9))
    card = Buffers(device="CUDA0", memory=Memory(weights_bytes=9, kv_bytes=9))
    on_gpu = msgspec.structs.replace(loaded(2048), on_gpu=True)
    assert decodes_here(None)
    assert decodes_here(msgspec.structs.replace(loaded(2048), on_gpu=False, buffers=[layer]))
    assert decodes_here(msgspec.structs.replace(on_gpu, buffers=[layer, card]))
    assert not decodes_here(msgspec.structs.replace(on_gpu, buffers=[words, card]))
    assert decodes_here(on_gpu), "an engine that tells no buffers"
