"""Influence curves in one pass a layer, against the convolutions that define them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import kernels
from kernels import exact_tokens, range_tokens
from kernels.fast import influence, influence_in_context
from kernels.reach import ROUNDING

alphas = st.sampled_from([0.0, 0.3, 0.9, 0.999, 1.0])


@settings(max_examples=60)
@given(layers=st.integers(0, 12), window=st.integers(1, 70), alpha=alphas)
def test_the_curve_is_the_recurrence_to_the_end_of_its_tail(layers: int, window: int, alpha: float) -> None:
    """Relative to each value: a running sum would drown the tail in the rounding of the head."""
    np.testing.assert_allclose(
        influence(layers, window, alpha), kernels.influence(layers, window, alpha), rtol=ROUNDING, atol=0
    )


@settings(max_examples=60)
@given(
    n_token=st.integers(1, 120),
    windows=st.lists(st.none() | st.integers(1, 150), max_size=8),
    alpha=alphas,
)
def test_the_curve_of_a_hybrid_is_the_product_of_its_layers(
    n_token: int, windows: list[int | None], alpha: float
) -> None:
    slow = kernels.influence_in_context(n_token, windows, alpha)
    np.testing.assert_allclose(influence_in_context(n_token, windows, alpha), slow, rtol=ROUNDING, atol=0)


def test_a_deep_stack_of_wide_windows_has_the_range_that_the_papers_table_tends_to() -> None:
    """9.53 W at 100 layers of 1,024: the reference takes minutes for this, and 9.46 W is what W = 100 has."""
    assert round(range_tokens(influence(100, 1024, 0.9), eps=0.01) / 1024, 2) == 9.53
    assert range_tokens(influence(100, 100, 0.9), eps=0.01) == exact_tokens(100, 100, 0.9, 0.01)


def test_numbers_that_make_no_sense_are_refused_as_the_reference_does() -> None:
    for layers, window, alpha, problem in (
        (-1, 3, 0, "layers must be a whole number, 0 or more, not -1"),
        (2, 0, 0, "window must"),
        (2, 3, 2, "alpha"),
    ):
        with pytest.raises(ValueError, match=problem):
            influence(layers, window, alpha)
    with pytest.raises(ValueError, match="n_token must be a whole number, 1 or more, not 0"):
        influence_in_context(0, [3])
    with pytest.raises(ValueError, match=r"windows\[0\] must be a whole number, 1 or more, not 0"):
        influence_in_context(4, [0])
    with pytest.raises(ValueError, match="alpha"):
        influence_in_context(4, [2], alpha=-1)
