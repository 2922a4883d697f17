"""The warning before memory runs out: it comes at once, it never hides what is bad, and it does not flap."""

import itertools
from unittest.mock import Mock

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.chat.controller import Chat
from chatapp.presentation.memory_pressure import (
    ANCHOR_S,
    CALM_S,
    MIB,
    RELEASE,
    Pressure,
    Reading,
    Severity,
    least_bytes,
    reading_of,
)
from chatapp.protocol.values import CacheRequest, EngineSettings, HostMemory, Sampling
from tests.support.presentation.inspector_events import loaded, snapshot

GIB = 1024 * MIB
LIMIT = 8 * GIB
LOW = least_bytes(LIMIT)


def reading(
    at_s: float,
    available: int,
    *,
    swap: int | None = 0,
    own_swap: int | None = 0,
    private: int | None = 200 * MIB,
    planned: int | None = 500 * MIB,
) -> Reading:
    host = HostMemory(
        available_bytes=available,
        limit_bytes=LIMIT,
        swap_used_bytes=swap,
        swapped_bytes=own_swap,
        private_bytes=private,
    )
    return Reading(at_s, host, planned)


def later(
    step_s: float, available: int, swap: int | None, own_swap: int | None, private: int | None
) -> tuple[float, Reading]:
    """A reading so many seconds after the one before."""
    return step_s, reading(0, available, swap=swap, own_swap=own_swap, private=private)


READINGS = st.lists(
    st.builds(
        later,
        st.floats(0, 30),
        st.integers(0, LIMIT),
        st.none() | st.integers(0, 2 * GIB),
        st.none() | st.integers(0, GIB),
        st.none() | st.integers(0, 4 * GIB),
    ),
    max_size=60,
)


def followed(steps: list[tuple[float, Reading]]) -> list[tuple[float, Pressure]]:
    """The times, and what was made of the readings up to each."""
    at_s, state, told = 0.0, Pressure(), list[tuple[float, Pressure]]()
    for step, one in steps:
        at_s += step
        state = state.next(Reading(at_s, one.host, one.planned_bytes))
        told.append((at_s, state))
    return told


@settings(max_examples=200, deadline=None)
@given(READINGS)
def test_what_is_nearly_gone_is_an_alarm_at_once_whatever_came_before(steps: list[tuple[float, Reading]]) -> None:
    for (_, state), (_, one) in zip(followed(steps), steps, strict=True):
        if one.host.available_bytes < LOW / 3:
            assert state.level is Severity.CRITICAL
        elif one.host.available_bytes < LOW:
            assert state.level >= Severity.LOW
        assert bool(state.why) == (state.level > Severity.NONE)


@settings(max_examples=200, deadline=None)
@given(READINGS)
def test_a_warning_ends_only_after_it_was_well_for_a_while(steps: list[tuple[float, Reading]]) -> None:
    """So it cannot come and go more often than every CALM_S, whatever the readings do."""
    told, fell = followed(steps), 0.0
    for last, ((_, before), (at_s, after)) in enumerate(itertools.pairwise(told), 1):
        if after.level < before.level:
            assert at_s - fell >= CALM_S
            fell = at_s
            bad = LOW if before.level is Severity.LOW else LOW / 3
            so_far = zip(told[: last + 1], steps[: last + 1], strict=True)
            recent = [one for (then_s, _), (_, one) in so_far if at_s - CALM_S < then_s]
            assert all(one.host.available_bytes >= bad for one in recent)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.integers(int(RELEASE * LOW) + 1, LIMIT)), max_size=60))
def test_there_is_no_warning_where_nothing_is_wrong(steps: list[tuple[float, int]]) -> None:
    """Enough is left, nothing swaps, the engine does not grow: however much the rest moves."""
    assert all(state.level is Severity.NONE for _, state in followed([(s, reading(0, left)) for s, left in steps]))


@settings(max_examples=100, deadline=None)
@given(READINGS, st.integers(0, LIMIT), st.integers(0, LIMIT))
def test_less_memory_is_never_a_lower_level(steps: list[tuple[float, Reading]], a: int, b: int) -> None:
    told = followed(steps)
    at_s, state = told[-1] if told else (0.0, Pressure())
    less, more = (state.next(reading(at_s + 1, left)) for left in sorted((a, b)))
    assert less.level >= more.level


def test_a_figure_that_swings_about_the_threshold_is_one_warning() -> None:
    """Ten readings a second, just below and just above: one rise, no fall."""
    told = followed([(0.1, reading(0, LOW + (MIB if n % 2 else -MIB))) for n in range(600)])
    levels = [state.level for _, state in told]
    assert sum(b > a for a, b in zip([Severity.NONE, *levels], levels, strict=False)) == 1
    assert levels[-1] is Severity.LOW
    assert told[-1][1].why == "only 682 MiB of 8 GiB is available"


def test_it_ends_when_enough_is_left_for_long_enough() -> None:
    enough = int(RELEASE * LOW) + 1
    steps = [
        (0.0, reading(0, LOW - 1)),
        (1.0, reading(0, enough)),
        (CALM_S - 1, reading(0, enough)),
        (1.0, reading(0, enough)),
    ]
    assert [state.level for _, state in followed(steps)] == [Severity.LOW, Severity.LOW, Severity.LOW, Severity.NONE]


def test_growth_counts_only_beyond_the_plan() -> None:
    """A cache that is touched for the first time grows as fast as a leak, and was planned to."""
    for planned, level in ((6 * GIB, Severity.NONE), (GIB, Severity.LOW), (None, Severity.LOW)):
        steps = [
            (0.0, reading(0, 4 * GIB, private=GIB, planned=planned)),
            (ANCHOR_S, reading(0, 3 * GIB, private=2 * GIB, planned=planned)),
        ]
        state = followed(steps)[-1][1]
        assert state.level is level
        if level:
            assert state.why == "the engine is growing beyond its plan, and will use the remaining 3 GiB in 30 s"


def test_swapping_is_told_and_old_swap_is_not() -> None:
    """What was in swap when the program began says nothing of it."""
    before = [(1.0, reading(0, 4 * GIB, own_swap=2 * GIB)) for _ in range(30)]
    assert followed(before)[-1][1].level is Severity.NONE
    swaps = [*before, (1.0, reading(0, 4 * GIB, own_swap=2 * GIB + 100 * MIB))]
    state = followed(swaps)[-1][1]
    assert (state.level, state.why) == (Severity.LOW, "the system has moved 100 MiB of the engine to swap")
    after = [*swaps, *((1.0, reading(0, 4 * GIB, own_swap=2 * GIB + 100 * MIB)) for _ in range(40))]
    assert followed(after)[-1][1].level is Severity.NONE


def test_what_others_swap_counts_where_little_is_left() -> None:
    """In a container the machine's swap is a neighbour's, as long as there is room here."""
    for left, level in ((6 * GIB, Severity.NONE), (3 * LOW, Severity.LOW)):
        state = followed([(0.0, reading(0, left)), (1.0, reading(0, left, swap=100 * MIB))])[-1][1]
        assert state.level is level
    assert state.why == "the system has moved 100 MiB to swap, and only 2 GiB is available"


def test_a_chat_says_it_once_when_it_begins_and_once_when_it_is_over() -> None:
    """Ten snapshots a second must not be ten lines; what is worse than before is said again."""
    view = Mock()
    chat = Chat(view, Mock(), cache=CacheRequest(), engine=EngineSettings(), sampling=Sampling())

    def saw(at_s: float, available: int) -> None:
        chat.handle(msgspec.structs.replace(snapshot(), at_s=at_s, host=reading(0, available).host))

    for at_s, available in ((0, LOW - 1), (0.1, LOW - 2), (0.2, LOW // 4), (1, 6 * GIB), (12, 6 * GIB), (13, 6 * GIB)):
        saw(at_s, available)
    said = [call.args for call in view.show_notice.call_args_list]
    assert [level for level, _ in said] == ["warning", "error", "info"]
    assert said[0][1].startswith("Memory is low: only 683 MiB of 8 GiB is available. Close other programs")
    assert said[2][1] == "There is enough memory again."
    assert {call.kwargs["key"] for call in view.show_notice.call_args_list} == {"pressure"}


def test_a_snapshot_without_figures_decides_nothing() -> None:
    """An older trace, or a scripted engine."""
    assert reading_of(snapshot(), loaded()) is None
    planned = reading_of(msgspec.structs.replace(snapshot(), host=reading(0, 1).host), loaded(2048, 512, 768))
    assert planned is not None
    assert planned.planned_bytes == 98_000_000 + 11_796_480 + 3_932_160 + 24_000_000
