"""Attention against itself written one number at a time, and against its online form."""

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import attend, attend_online, sinks_and_window
from kernels.arrays import Floats
from tests.kernels.draws import heads, n_sinks, n_tokens, seeds, windows

softcaps = st.sampled_from([None, 1.5, 50.0])


def attend_by_hand(
    q: Floats, k: Floats, v: Floats, see: list[int], scale: float, softcap: float | None, sink: float | None
) -> list[float]:
    """One query of one head on the keys of `see`, in Python's numbers."""
    scores = [scale * sum(a * b for a, b in zip(q, k[j], strict=True)) for j in see]
    if softcap is not None:
        scores = [softcap * math.tanh(score / softcap) for score in scores]
    total = sum(map(math.exp, scores)) + (0 if sink is None else math.exp(sink))
    return [sum(math.exp(s) / total * v[j][d] for s, j in zip(scores, see, strict=True)) for d in range(v.shape[-1])]


@given(seed=seeds, n_token=n_tokens, window=windows, n_sink=n_sinks, softcap=softcaps, learned=st.booleans())
def test_attention_is_its_formula(
    seed: int, n_token: int, window: int, n_sink: int, softcap: float | None, learned: bool
) -> None:
    """Head h of 6 reads key head h // 2 of 3: neighbours share."""
    h = heads(n_token, seed, n_head=6, n_kv_head=3)
    logits = np.linspace(-2, 2, 6) if learned else None
    tokens = np.arange(n_token)
    mask = sinks_and_window(tokens, tokens, window, n_sink)
    seen = attend(h.q, h.k, h.v, mask, scale=0.3, softcap=softcap, sink_logits=logits)
    for head in range(6):
        sink = None if logits is None else float(logits[head])
        for i in range(n_token):
            see = [j for j in range(n_token) if mask[i, j]]
            by_hand = attend_by_hand(h.q[head, i], h.k[head // 2], h.v[head // 2], see, 0.3, softcap, sink)
            np.testing.assert_allclose(seen.output[head, i], by_hand, atol=1e-12)


@given(seed=seeds, n_token=n_tokens, window=windows, n_sink=n_sinks, softcap=softcaps, learned=st.booleans())
def test_weights_are_a_share_of_what_is_seen(
    seed: int, n_token: int, window: int, n_sink: int, softcap: float | None, learned: bool
) -> None:
    """Rows sum to 1, with a learned sink to less than 1 and with it to 1; what is masked weighs nothing."""
    h = heads(n_token, seed)
    logits = np.array([-1.0, 0.0, 1.0, 4.0]) if learned else None
    tokens = np.arange(n_token)
    mask = sinks_and_window(tokens, tokens, window, n_sink)
    seen = attend(h.q, h.k, h.v, mask, softcap=softcap, sink_logits=logits)
    np.testing.assert_allclose(seen.row_sums + seen.sink, 1, atol=1e-12)
    assert (seen.sink > 0).all() == learned
    assert (seen.weights[:, ~mask] == 0).all()
    first = seen.weights[:, :, :n_sink].sum(axis=-1)
    np.testing.assert_allclose(seen.sink_mass(n_sink), first + (1 - seen.row_sums if learned else 0), atol=1e-12)


@given(
    seed=seeds,
    n_token=n_tokens,
    window=windows,
    n_sink=n_sinks,
    softcap=softcaps,
    learned=st.booleans(),
    block=st.integers(1, 30),
)
def test_the_online_form_is_the_same(
    seed: int, n_token: int, window: int, n_sink: int, softcap: float | None, learned: bool, block: int
) -> None:
    h = heads(n_token, seed)
    logits = np.array([-30.0, 0.0, 1.0, 30.0]) if learned else None
    tokens = np.arange(n_token)
    rule = partial(sinks_and_window, window=window, n_sink=n_sink)
    whole = attend(h.q, h.k, h.v, rule(tokens, tokens), scale=3.0, softcap=softcap, sink_logits=logits)
    online = attend_online(
        h.q, h.k, h.v, rule, tokens, tokens, block=block, scale=3.0, softcap=softcap, sink_logits=logits
    )
    np.testing.assert_allclose(online, whole.output, atol=1e-12)


@pytest.mark.parametrize("score", [-800.0, 800.0])
def test_scores_that_overflow_an_exponential_are_safe(score: float) -> None:
    q, v = np.full((1, 2, 1), score), np.array([[[1.0], [3.0]]])
    tokens = np.arange(2)
    mask = np.ones((2, 2), dtype=np.bool_)
    assert attend(q, np.ones((1, 2, 1)), v, mask).output.ravel().tolist() == [2.0, 2.0]
    online = attend_online(q, np.ones((1, 2, 1)), v, lambda i, j: mask[i][:, j], tokens, tokens, block=1)
    assert online.ravel().tolist() == [2.0, 2.0]
    sunk = attend(q, np.ones((1, 2, 1)), v, mask, sink_logits=np.array([900.0]))
    np.testing.assert_allclose(sunk.sink, 1)
    np.testing.assert_allclose(sunk.output, 0, atol=1e-40)


def test_a_query_that_sees_nothing_gets_nothing() -> None:
    h = heads(3, seed=5)
    tokens = np.arange(3)
    blind = np.zeros((3, 3), dtype=np.bool_)
    seen = attend(h.q, h.k, h.v, blind)
    assert not seen.output.any()
    assert not seen.weights.any()
    assert not attend_online(h.q, h.k, h.v, lambda i, j: blind[i][:, j], tokens, tokens).any()
    assert attend(h.q, h.k, h.v, blind, sink_logits=np.zeros(4)).sink.min() == 1.0
    assert not attend(h.q, h.k[:, :0], h.v[:, :0], blind[:, :0]).output.any()


def test_half_precision_is_widened_before_the_work() -> None:
    """float16 inputs whose products overflow float16 (70,000 > 65,504) must not."""
    q = np.full((1, 1, 1), 280, dtype=np.float16)
    k = np.array([[[250], [249.875]]], dtype=np.float16)
    seen = attend(q, k, k, np.ones((1, 2), dtype=np.bool_), scale=1.0)
    np.testing.assert_allclose(seen.weights[0, 0], [1, math.exp(-280 * 0.125)], atol=1e-15)


def test_shapes_that_do_not_fit_are_refused() -> None:
    h = heads(2, seed=6)
    mask = np.ones((2, 2), dtype=np.bool_)
    with pytest.raises(ValueError, match="q must have a multiple of the 2 heads of k, at least one each, not 3"):
        attend(h.q[:3], h.k, h.v, mask)
    with pytest.raises(ValueError, match=r"k must be \(n_kv_head, n_key, head_dim = 4\), not \(2, 2, 3\)"):
        attend(h.q, h.k[..., :3], h.v, mask)
    with pytest.raises(ValueError, match=r"sink_logits must be \(n_head = 4,\), not \(1,\)"):
        attend(h.q, h.k, h.v, mask, sink_logits=np.zeros(1))
    with pytest.raises(ValueError, match="block"):
        attend_online(h.q, h.k, h.v, sinks_rule, np.arange(2), np.arange(2), block=0)


sinks_rule = partial(sinks_and_window, window=2, n_sink=0)
