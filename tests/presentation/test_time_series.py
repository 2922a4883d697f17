"""The history of a figure: bounded, and no eviction and no peak is ever lost."""

from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.presentation.time_series import MOST, SeriesSpan, TimeSeries, folded

READINGS = st.lists(st.tuples(st.floats(0, 50), st.integers(0, 10**12), st.integers(0, 3)), max_size=400)


@settings(max_examples=100, deadline=None)
@given(READINGS, st.integers(1, 60))
def test_however_long_it_goes_on_nothing_is_lost(readings: list[tuple[float, int, int]], width: int) -> None:
    track, at_s = TimeSeries(), 0.0
    for step, value, evictions in readings:
        at_s += step
        track.add(at_s, value, evictions)
    drawn = folded(track.spans, width)
    assert len(track.spans) <= MOST
    assert len(drawn) == min(width, len(track.spans))
    for spans in (track.spans, drawn):
        assert sum(span.evictions for span in spans) == sum(evictions for _, _, evictions in readings)
        assert max((span.value for span in spans), default=0) == max((value for _, value, _ in readings), default=0)


def test_a_second_is_a_span_until_there_are_too_many() -> None:
    track = TimeSeries()
    for tenth in range(10 * (MOST + 1)):
        track.add(100 + tenth / 10, tenth)
    assert len(track.spans) == MOST // 2
    assert track.spans[-1] == SeriesSpan(10 * (MOST + 1) - 1)
    assert all(a.value < b.value for a, b in zip(track.spans, track.spans[1:], strict=False))


def test_a_pause_takes_no_room() -> None:
    """A night between two replies must not push the day out of the picture."""
    track = TimeSeries()
    for at_s in (0.0, 0.5, 40_000.0, 40_000.5, 40_001.2):
        track.add(at_s, 7, 1)
    assert track.spans == [SeriesSpan(7, 2), SeriesSpan(7, 2), SeriesSpan(7, 1)]


def test_a_clock_that_goes_back_adds_to_the_newest() -> None:
    track = TimeSeries()
    for at_s, value in ((100.0, 1), (90.0, 9), (100.5, 2)):
        track.add(at_s, value)
    assert track.spans == [SeriesSpan(9)]
