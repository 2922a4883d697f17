"""The sink variants: each against another that it must equal in a special case, and what tells them apart."""

import math

import numpy as np
import pytest
from hypothesis import given

from kernels import (
    Rope,
    attend,
    attend_sigmoid,
    attend_streaming,
    attend_with_bias,
    attend_with_sink_token,
    causal,
    rotate,
    shift,
    sinks_and_window,
    sliding_window,
)
from tests.kernels.draws import heads, n_sinks, n_tokens, seeds, windows

ROPE = Rope(n_rot=4, base=100.0)


@given(seed=seeds, n_token=n_tokens, window=windows, n_sink=n_sinks)
def test_streaming_changes_nothing_until_something_is_evicted(
    seed: int, n_token: int, window: int, n_sink: int
) -> None:
    """The first `n_sink + window` tokens see everything at its own position; rotation is relative, so all agree."""
    h = heads(n_token, seed)
    tokens = np.arange(n_token)
    streaming = attend_streaming(h.q, h.k, h.v, window=window, n_sink=n_sink, rope=ROPE)
    dense = attend(rotate(h.q, tokens, ROPE), rotate(h.k, tokens, ROPE), h.v, causal(tokens, tokens))
    whole = n_sink + window
    np.testing.assert_allclose(streaming.output[:, :whole], dense.output[:, :whole], atol=1e-12)


@given(seed=seeds, n_token=n_tokens, window=windows)
def test_streaming_without_sinks_is_a_sliding_window(seed: int, n_token: int, window: int) -> None:
    """With nothing kept in front, renumbering moves query and keys alike, and only distances count."""
    h = heads(n_token, seed)
    tokens = np.arange(n_token)
    streaming = attend_streaming(h.q, h.k, h.v, window=window, n_sink=0, rope=ROPE)
    mask = sliding_window(tokens, tokens, window)
    plain = attend(rotate(h.q, tokens, ROPE), rotate(h.k, tokens, ROPE), h.v, mask)
    np.testing.assert_allclose(streaming.output, plain.output, atol=1e-12)
    np.testing.assert_allclose(streaming.weights, plain.weights, atol=1e-12)


def test_streaming_is_what_a_cache_with_shifts_computes() -> None:
    """Keys rotated once and shifted in the cache, as llama.cpp does it, against keys rotated anew for each query."""
    window, n_sink, n_token = 3, 2, 9
    h = heads(n_token, seed=8)
    streaming = attend_streaming(h.q, h.k, h.v, window=window, n_sink=n_sink, rope=ROPE)
    cached = np.zeros((2, 0, 4))
    kept: list[int] = []
    for token in range(n_token):
        if len(kept) == n_sink + window:
            del kept[n_sink]
            moved = shift(cached[:, n_sink + 1 :], np.full(window - 1, -1), ROPE)
            cached = np.concatenate([cached[:, :n_sink], moved], axis=1)
        here = np.array([len(kept)])
        kept.append(token)
        cached = np.concatenate([cached, rotate(h.k[:, [token]], here, ROPE)], axis=1)
        query = rotate(h.q[:, [token]], here, ROPE)
        seen = attend(query, cached, h.v[:, kept], np.ones((1, len(kept)), dtype=np.bool_))
        np.testing.assert_allclose(seen.output[:, 0], streaming.output[:, token], atol=1e-12)
    assert kept == [0, 1, 6, 7, 8]


def test_streaming_numbers_without_a_gap() -> None:
    """Only the distance to the sinks shrinks: kept at their old distance, the weights differ."""
    h = heads(9, seed=9)
    tokens = np.arange(9)
    streaming = attend_streaming(h.q, h.k, h.v, window=3, n_sink=2, rope=ROPE)
    mask = sinks_and_window(tokens, tokens, 3, 2)
    in_place = attend(rotate(h.q, tokens, ROPE), rotate(h.k, tokens, ROPE), h.v, mask)
    assert ((streaming.weights > 0) == mask).all()
    assert np.abs(streaming.weights - in_place.weights)[:, 5:].max() > 0.05


@given(seed=seeds, n_token=n_tokens, window=windows)
def test_a_first_token_that_is_a_sink_token_is_one(seed: int, n_token: int, window: int) -> None:
    """A sink token beside the conversation equals a conversation whose first token is kept."""
    h = heads(n_token + 1, seed)
    tokens = np.arange(n_token)
    beside = attend_with_sink_token(
        h.q[:, 1:],
        h.k[:, 1:],
        h.v[:, 1:],
        sliding_window(tokens, tokens, window),
        sink_key=h.k[:, 0],
        sink_value=h.v[:, 0],
    )
    every = np.arange(n_token + 1)
    first = attend(h.q, h.k, h.v, sinks_and_window(every, every, window, n_sink=1))
    np.testing.assert_allclose(beside.output, first.output[:, 1:], atol=1e-12)
    np.testing.assert_allclose(beside.sink_mass(n_sink=1), first.sink_mass(n_sink=1)[:, 1:], atol=1e-12)


@given(seed=seeds, n_token=n_tokens, window=windows)
def test_biases_of_zero_are_a_learned_logit_of_zero(seed: int, n_token: int, window: int) -> None:
    h = heads(n_token, seed)
    tokens = np.arange(n_token)
    mask = sliding_window(tokens, tokens, window)
    biased = attend_with_bias(h.q, h.k, h.v, mask, key_bias=np.zeros((2, 4)), value_bias=np.zeros((2, 3)))
    learned = attend(h.q, h.k, h.v, mask, sink_logits=np.zeros(4))
    np.testing.assert_allclose(biased.output, learned.output, atol=1e-12)
    np.testing.assert_allclose(biased.weights, learned.weights, atol=1e-12)
    np.testing.assert_allclose(biased.sink, learned.sink, atol=1e-12)


def test_a_value_bias_adds_to_the_output_and_a_learned_logit_does_not() -> None:
    """All weight on the sink: the output is the bias, where gpt-oss gives zero."""
    h = heads(1, seed=10)
    q, mask = np.ones_like(h.q), np.array([[True]])
    biased = attend_with_bias(q, h.k, h.v, mask, key_bias=np.full((2, 4), 1e3), value_bias=np.full((2, 3), 7.0))
    np.testing.assert_allclose(biased.output, 7.0)
    np.testing.assert_allclose(attend(q, h.k, h.v, mask, sink_logits=np.full(4, 2e3)).output, 0.0, atol=1e-300)


@given(seed=seeds, n_token=n_tokens, window=windows)
def test_sigmoid_weights_stand_alone(seed: int, n_token: int, window: int) -> None:
    """No weight depends on what else is seen, and each is its sigmoid: a window only leaves some out."""
    h = heads(n_token, seed)
    tokens = np.arange(n_token)
    mask = sliding_window(tokens, tokens, window)
    dense = attend_sigmoid(h.q, h.k, h.v, causal(tokens, tokens), scale=0.5)
    seen = attend_sigmoid(h.q, h.k, h.v, mask, scale=0.5)
    np.testing.assert_array_equal(seen.weights, np.where(mask, dense.weights, 0))
    score = 0.5 * h.q[3, 0] @ h.k[1, 0]
    np.testing.assert_allclose(seen.weights[3, 0, 0], 1 / (1 + np.exp(-score)), rtol=1e-12)
    assert (seen.sink == 0).all()


def test_a_sigmoid_can_give_nothing_and_a_softmax_cannot() -> None:
    """Why no sinks form: with nothing worth seeing, rows sum to 0 instead of 1; with all of it worth, to n_key."""
    q, k = np.full((1, 1, 1), 1.0), np.full((1, 3, 1), -1e3)
    mask = np.ones((1, 3), dtype=np.bool_)
    assert attend_sigmoid(q, k, k, mask).row_sums.item() == 0
    assert attend_sigmoid(-q, k, k, mask).row_sums.item() == 3
    assert math.isclose(attend(q, k, k, mask).row_sums.item(), 1)


def test_a_sink_of_the_wrong_shape_is_refused() -> None:
    h = heads(2, seed=11)
    mask = np.ones((2, 2), dtype=np.bool_)
    with pytest.raises(ValueError, match=r"sink_key must be \(n_kv_head = 2, dim = 4\), not"):
        attend_with_sink_token(h.q, h.k, h.v, mask, sink_key=h.k[0, 0], sink_value=h.v[:, 0])
