"""How far back a stack sees: the recurrence in exact fractions, the published figures, and both approximations."""

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kernels import (
    causal,
    exact_tokens,
    exponential,
    exponential_tokens,
    gaussian,
    gaussian_std_tokens,
    influence,
    influence_in_context,
    range_tokens,
    reachable_tokens,
    sliding_window,
)

layers = st.integers(0, 5)
small_windows = st.integers(1, 6)
tenths = st.integers(0, 10)


def influence_in_fractions(n_layer: int, window: int, alpha: Fraction) -> list[Fraction]:
    """The recurrence as it is written, without rounding."""
    p = {0: Fraction(1)}
    for _ in range(n_layer):
        far = max(p) + window - 1
        p = {
            d: alpha * p.get(d, Fraction(0))
            + (1 - alpha) / window * sum(p.get(d - j, Fraction(0)) for j in range(window))
            for d in range(far + 1)
        }
    return [p[d] for d in range(len(p))]


@given(n_layer=layers, window=small_windows, tenth=tenths)
def test_the_influence_is_the_recurrence(n_layer: int, window: int, tenth: int) -> None:
    exact = influence_in_fractions(n_layer, window, Fraction(tenth, 10))
    p = influence(n_layer, window, tenth / 10)
    assert len(p) == reachable_tokens(n_layer, window)
    np.testing.assert_allclose(p, [float(value) for value in exact], rtol=1e-12)
    assert math.isclose(p.sum(), 1)


@example(n_layer=1, window=5, tenth=0, thousandths=600)  # 0.2 + 0.2 + 0.2 > 0.6 in floats
@given(n_layer=layers, window=small_windows, tenth=tenths, thousandths=st.integers(0, 1000))
def test_the_range_is_the_smallest_with_so_small_a_tail(
    n_layer: int, window: int, tenth: int, thousandths: int
) -> None:
    """In fractions, where a tail can equal the threshold: such a tie counts as small enough."""
    p = influence_in_fractions(n_layer, window, Fraction(tenth, 10))
    smallest = next(r for r in range(len(p) + 1) if sum(p[r:], Fraction(0)) <= Fraction(thousandths, 1000))
    assert exact_tokens(n_layer, window, tenth / 10, thousandths / 1000) == smallest


@pytest.mark.parametrize(
    ("alpha", "windows_seen"),
    [
        (0.90, [1.71, 3.61, 4.66, 9.46]),
        (0.95, [1.26, 2.48, 3.11, 5.88]),
        (0.99, [0.85, 1.12, 1.45, 2.31]),
    ],
)
def test_the_table_of_ranges(alpha: float, windows_seen: list[float]) -> None:
    """Ranges of 1% in windows, for 6, 24, 36 and 100 layers, at W = 100 and R = the smallest with P(d >= R) <= 0.01.

    At other windows the last digit may differ: as W grows, 9.46 W becomes 9.53 W.
    """
    ranges = [exact_tokens(n_layer, 100, alpha, 0.01) / 100 for n_layer in (6, 24, 36, 100)]
    assert ranges == windows_seen


def test_depth_extends_the_exact_range_and_not_the_bound() -> None:
    """The bound's "about 2 W at any depth" holds near 6 to 12 layers; a model of 36 sees more than twice as far."""
    ranges = [exact_tokens(n_layer, 128, 0.9, 0.01) for n_layer in (6, 12, 24, 36)]
    assert ranges == sorted(set(ranges))
    bound = exponential_tokens(128, 0.9, 0.01)
    assert ranges[0] < bound < ranges[1]
    assert ranges[3] > 2 * bound


def test_the_exponential_range_in_windows() -> None:
    assert round(exponential_tokens(1000, 0.95, 0.01) / 1000, 2) == 1.54
    assert round(exponential_tokens(1000, 0.90, 0.01) / 1000, 2) == 2.00
    at = exponential_tokens(100, 0.95, 1e-6)
    assert math.isclose(exponential(100, 0.95, np.array([at])).item(), 1e-6)
    assert math.isclose(exponential(1000, 0.95, np.array([100_000.0])).item(), 8e-131, rel_tol=0.02)


@pytest.mark.parametrize(("n_layer", "window"), [(6, 100), (24, 128), (36, 50)])
def test_without_a_residual_it_is_nearly_a_gaussian(n_layer: int, window: int) -> None:
    """The moments are exact, the shape within 3% of its peak; both near the blog post's 0.29 W √L."""
    p = influence(n_layer, window)
    distance = np.arange(len(p))
    mean = (p * distance).sum()
    assert math.isclose(mean, n_layer * (window - 1) / 2)
    std = math.sqrt((p * (distance - mean) ** 2).sum())
    assert math.isclose(gaussian_std_tokens(n_layer, window), std)
    assert math.isclose(std, 0.29 * window * math.sqrt(n_layer), rel_tol=0.01)
    np.testing.assert_allclose(gaussian(n_layer, window), p, atol=0.03 * p.max())


def test_the_smallest_influence_is_exact() -> None:
    """30 layers straight back, each (1 - alpha) / W: all digits of 1e-117, which running sums or an FFT would lose."""
    p = influence(layers=30, window=800, alpha=0.9)
    assert math.isclose(p[-1], (0.1 / 800) ** 30, rel_tol=1e-12)
    assert range_tokens(p, 1e-100) < len(p) - 1


@given(n_token=st.integers(1, 12), windows=st.lists(small_windows | st.none(), max_size=4), tenth=tenths)
def test_in_a_context_it_is_the_product_of_the_masks(n_token: int, windows: list[int | None], tenth: int) -> None:
    """Attention rollout: the last row of the product of each layer's matrix, with global layers anywhere."""
    tokens = np.arange(n_token)
    alpha = tenth / 10
    product = np.eye(n_token)
    for window in windows:
        mask = causal(tokens, tokens) if window is None else sliding_window(tokens, tokens, window)
        attention = mask / mask.sum(axis=-1, keepdims=True)
        product = (alpha * np.eye(n_token) + (1 - alpha) * attention) @ product
    felt = influence_in_context(n_token, windows, alpha)
    np.testing.assert_allclose(felt, product[-1, ::-1], atol=1e-12)
    assert math.isclose(felt.sum(), 1)


@given(n_layer=layers, window=small_windows, tenth=tenths)
def test_far_from_the_beginning_a_context_changes_nothing(n_layer: int, window: int, tenth: int) -> None:
    n_token = reachable_tokens(n_layer, window) + window - 1
    felt = influence_in_context(n_token, [window] * n_layer, tenth / 10)
    free = influence(n_layer, window, tenth / 10)
    np.testing.assert_allclose(felt[: len(free)], free, atol=1e-12)
    assert (felt[len(free) :] == 0).all()


def test_one_global_layer_breaks_the_barrier() -> None:
    """Gemma 3's five windows of 512 to one global layer, 8192 tokens cached: 1% reaches almost all the way back."""
    n_token = 8192
    local = range_tokens(influence_in_context(n_token, [512] * 6, 0.9), 0.01)
    hybrid = range_tokens(influence_in_context(n_token, [*[512] * 5, None], 0.9), 0.01)
    assert local == exact_tokens(6, 512, 0.9, 0.01) == 876
    assert hybrid > 7000


def test_reachable_is_what_the_masks_can_carry() -> None:
    """Receptive field: W - 1 more tokens with each layer."""
    tokens = np.arange(20)
    mask = sliding_window(tokens, tokens, 4).astype(int)
    for n_layer in (1, 2, 5):
        carried = np.linalg.matrix_power(mask, n_layer)[-1] > 0
        assert carried.sum() == reachable_tokens(n_layer, 4)


def test_numbers_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="layers"):
        influence(-1, 4)
    with pytest.raises(ValueError, match="window"):
        reachable_tokens(2, 0)
    with pytest.raises(ValueError, match="alpha"):
        influence(1, 4, 1.5)
    with pytest.raises(ValueError, match="nothing moves"):
        gaussian(3, 1)
    with pytest.raises(ValueError, match="alpha must be a finite number, above 0, below 1"):
        exponential_tokens(4, 1.0, 0.01)
    with pytest.raises(ValueError, match="alpha must be a finite number, above 0, below 1"):
        exponential(4, 0.0, np.zeros(1))
    with pytest.raises(ValueError, match="eps"):
        exponential_tokens(4, 0.9, 0.0)
    with pytest.raises(ValueError, match="eps"):
        exact_tokens(2, 4, 0.9, 1.5)
    with pytest.raises(ValueError, match="n_token must be a whole number, 1 or more, not 0"):
        influence_in_context(0, [4])
