"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.presentation import format


@pytest.mark.parametrize(("n_bytes", "text"), [(None, "—"), (251_000_000, "239 MiB")])
def test_a_size_that_is_not_known_is_a_dash(n_bytes: int | None, text: str) -> None:
    assert format.size(n_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text", "short"),
    [
        (None, "—", "—"),
        (0.00041, "0.41 ms", "0.4ms"),
        (0.312, "312 ms", "312ms"),
        (0.9996, "1 s", "1.0s"),
        (1.94, "1.94 s", "1.9s"),
        (125.0, "2 min 5 s", "125s"),
    ],
)
def test_durations(seconds: float | None, text: str, short: str) -> None:
    assert (format.duration(seconds), format.short_duration(seconds)) == (text, short)


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 512, "0%"), (1, 512, "1%"), (412, 512, "80%"), (511, 512, "99%"), (512, 512, "100%"), (0, 0, "—")],
)
def test_a_share_is_all_or_nothing_only_when_it_is(part: int, whole: int, text: str) -> None:
    assert format.share(part, whole) == text


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (0.0, "0%"),
        (1e-9, "<0.01%"),
        (0.0004, "0.04%"),
        (0.0421, "4.2%"),
        (0.0996, "10%"),
        (0.42, "42%"),
        (0.9999, "99%"),
        (1.0, "100%"),
        (1.001, "100%"),
    ],
)
def test_a_measured_part_is_all_or_nothing_only_when_it_is(part: float, text: str) -> None:
    assert format.percent(part) == text


def test_turns_are_ranges() -> None:
    assert format.turns([7, 1, 2, 3, 3]) == "1–3, 7"
    assert format.turns([]) == ""


def test_plurals() -> None:
    assert (format.plural(1, "turn"), format.plural(1204, "turn")) == ("1 turn", "1,204 turns")


def test_rates() -> None:
    assert [format.rate(value) for value in (None, 7.42, 61.23, 812.4, 99.96)] == ["—", "7.42", "61.2", "812", "100"]


def test_bars_start_at_zero() -> None:
    assert format.bars([80, 40, 10], 10) == "█▄▁"
    assert format.bars([1, 2, 3], 2) == "▆█"
    assert format.bars([0, 0], 5) == "▁▁"


@given(st.integers(0, 5000), st.integers(1, 5000), st.integers(1, 60))
def test_a_fraction_bar_never_lies_by_more_than_an_eighth(part: int, whole: int, width: int) -> None:
    part = min(part, whole)
    bar = format.fraction_bar(part, whole, width)
    eighths = sum("▏▎▍▌▋▊▉█".index(column) + 1 for column in bar)
    assert len(bar) <= width
    assert (eighths == 0) == (part == 0)
    assert abs(eighths - 8 * width * part / whole) <= 1
