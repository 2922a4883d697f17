"""The gate: the best few, their shares, and how evenly the experts are used."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import Gate, expert_load, mix, top_k_gate
from kernels.arrays import Floats
from tests.kernels.draws import seeds


def softmax(x: Floats) -> Floats:
    exp = np.exp(x - x.max())
    return exp / exp.sum()


@given(seed=seeds, n_expert=st.integers(1, 12), data=st.data())
def test_the_gate_is_a_softmax_over_all_cut_to_the_best(seed: int, n_expert: int, data: st.DataObject) -> None:
    """Mixtral in llama.cpp takes the softmax first and normalizes after: the same shares."""
    n_used = data.draw(st.integers(1, n_expert))
    logits = 3 * np.random.default_rng(seed).normal(size=(5, n_expert))
    gate = top_k_gate(logits, n_used)
    for token in range(5):
        best = sorted(range(n_expert), key=lambda expert: -logits[token, expert])[:n_used]
        assert gate.experts[token].tolist() == best
        shares = softmax(logits[token])[best]
        np.testing.assert_allclose(gate.weights[token], shares / shares.sum(), atol=1e-12)
    load = expert_load(gate, n_expert)
    assert math.isclose(load.sum(), 1)
    assert load.tolist() == [np.mean(gate.experts == expert) for expert in range(n_expert)]


def test_of_equal_experts_the_first_go_first_and_large_logits_are_safe() -> None:
    gate = top_k_gate(np.tile([0.0, 1e4], (1, 64)), n_used=3)
    assert gate.experts.tolist() == [[1, 3, 5]]
    np.testing.assert_allclose(gate.weights, 1 / 3)


def test_using_every_expert_is_a_dense_mixture() -> None:
    random = np.random.default_rng(16)
    matrices = random.normal(size=(3, 2, 4))
    x, logits = random.normal(size=(5, 4)), random.normal(size=(5, 3))
    out = mix(x, top_k_gate(logits, 3), [lambda rows, m=m: rows @ m.T for m in matrices])
    dense = [np.einsum("e,eoi,i->o", softmax(row), matrices, token) for token, row in zip(x, logits, strict=True)]
    np.testing.assert_allclose(out, dense, atol=1e-12)


def test_choices_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="n_used must be a whole number, from 1 to 2, not 3"):
        top_k_gate(np.zeros((1, 2)), 3)
    with pytest.raises(ValueError, match="n_used must be a whole number, from 1 to 2, not 0"):
        top_k_gate(np.zeros((1, 2)), 0)
    with pytest.raises(ValueError, match="experts must be numbers from 0 to 3, not 4"):
        expert_load(Gate(experts=np.array([[4]]), weights=np.ones((1, 1))), n_expert=4)
