"""Norms, activations and linear maps, each against its formula, one number at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import FeedForward, Linear, geglu, layers, rms_norm, swiglu, swiglu_oai
from kernels.arrays import Floats
from tests.kernels.draws import seeds

numbers = st.floats(-400, 400)


@given(numbers, numbers)
def test_activations_are_their_formulas(gate: float, up: float) -> None:
    """exp(-1.702 * -400) is near the end of float64: nothing overflows (a warning would be an error)."""
    g, u = np.array([gate]), np.array([up])
    assert math.isclose(swiglu(g, u)[0], gate / (1 + math.exp(-gate)) * up, rel_tol=1e-12)
    tanh = math.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate * gate * gate))
    assert math.isclose(geglu(g, u)[0], gate * (1 + tanh) / 2 * up, rel_tol=1e-9, abs_tol=1e-12)
    x, y = min(gate, 7.0), max(-7.0, min(up, 7.0))
    assert math.isclose(swiglu_oai(g, u)[0], x / (1 + math.exp(-1.702 * x)) * (y + 1), rel_tol=1e-12)


def test_gelu_is_near_its_exact_form() -> None:
    """x times the share of the normal distribution below x; the tanh form is off by less than 0.0005."""
    x = np.linspace(-6, 6, 49)
    exact = [value * (1 + math.erf(value / math.sqrt(2))) / 2 for value in x]
    np.testing.assert_allclose(geglu(x, np.ones(49)), exact, atol=5e-4)


@given(seeds)
def test_a_normed_row_has_a_root_mean_square_of_one(seed: int) -> None:
    x = np.random.default_rng(seed).normal(size=(3, 2, 8))
    np.testing.assert_allclose(np.sqrt((rms_norm(x, np.ones(8), eps=0.0) ** 2).mean(axis=-1)), 1)
    np.testing.assert_allclose(rms_norm(1000 * x, np.ones(8), eps=0.0), rms_norm(x, np.ones(8), eps=0.0))
    assert rms_norm(np.zeros((1, 8)), np.ones(8), eps=1e-5).tolist() == [[0] * 8]


@given(seeds, st.integers(1, 60))
def test_a_weight_converted_in_parts_is_the_same_map(seed: int, part: int) -> None:
    random = np.random.default_rng(seed)
    weight = random.normal(size=(7, 5)).astype(np.float32)
    bias, x = random.normal(size=7), random.normal(size=(3, 5))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layers, "PART", part)
        got = Linear(weight, bias)(x)
    expected = [[sum(weight[i] * row) + bias[i] for i in range(7)] for row in x]
    np.testing.assert_allclose(got, expected)
    np.testing.assert_allclose(Linear(weight)(x[0]), got[0] - bias)


def test_a_feed_forward_network_is_its_three_maps_in_order() -> None:
    def minus(gate: Floats, up: Floats) -> Floats:
        return gate - up

    gate, up, down = (Linear(np.array(weight)) for weight in ([[2.0]], [[3.0]], [[10.0]]))
    assert FeedForward(gate, up, down, minus)(np.array([[5.0]])).tolist() == [[(2 * 5 - 3 * 5) * 10]]


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"x must be \(\.\.\., n_in = 2\), not \(1, 3\)"):
        Linear(np.eye(2))(np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"bias must be \(n_out = 2,\), not \(3,\)"):
        Linear(np.eye(2), np.zeros(3))
