"""Sizes for people."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp import units


@pytest.mark.parametrize(
    ("n_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_048_063, "1023 KiB"),
        (1_048_064, "1 MiB"),
        (98_362_432, "93.8 MiB"),
        (251_000_000, "239 MiB"),
        (84_930_000_000, "79.1 GiB"),
    ],
)
def test_sizes_are_binary(n_bytes: int, text: str) -> None:
    """As llama.cpp's log and `swachat doctor` write them."""
    assert units.size(n_bytes) == text


@given(st.integers(0, 10**18))
def test_a_size_is_right_to_half_a_percent(n_bytes: int) -> None:
    value, unit = units.size(n_bytes).split()
    back = float(value) * 1024 ** ("B", "KiB", "MiB", "GiB", "TiB", "PiB").index(unit)
    assert math.isclose(back, n_bytes, rel_tol=0.0051)
