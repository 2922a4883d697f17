"""Places for attention that no token should get: the variants, side by side, in the shapes of `kernels.attention`.

A softmax must spend all of its weight. Models learn to put what they do not need on the first tokens; when a window
drops those, the weight lands on tokens that matter. The remedies of the papers:

| Variant | Where the unneeded weight goes | Here |
|---|---|---|
| plain window | onto content: it distorts | `attend` with `sliding_window` |
| kept first tokens (StreamingLLM) | the first tokens, kept and renumbered | `attend_streaming` |
| a sink token (StreamingLLM) | a token trained for it, before all others | `attend_with_sink_token` |
| one logit per head (gpt-oss) | out of the row, which sums to less than 1 | `attend(..., sink_logits=...)` |
| key and value biases (Sun et al.) | a key and value of the layer's own | `attend_with_bias` |
| sigmoid (Gu et al.) | there is none: weights need not sum to 1 | `attend_sigmoid` |
"""

import math

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Bools, Floats
from kernels.attention import Attended, attend, attention_scores, for_each_head
from kernels.masks import sinks_and_window
from kernels.rope import Rope, rotate


def attend_streaming(
    q: AnyFloats, k: AnyFloats, v: AnyFloats, *, window: int, n_sink: int, rope: Rope, scale: float | None = None
) -> Attended:
    """StreamingLLM (arXiv 2309.17453, section 3.2): the first `n_sink` tokens and the last `window`, renumbered.

    `q` and `k` are not rotated yet. Each query numbers what it still sees 0, 1, 2, ... without a gap and rotates it
    there, itself last: with tokens 4 and 5 evicted, [0 1 2 3 6 7 8] reads as [0 1 2 3 4 5 6]. So every position
    is below `n_sink + window`, and the model meets none that it was not trained for. Weights have a column for each
    token of the conversation, 0 for the evicted ones.

    With one sink and a window of 2, token 5 sees tokens 0, 4 and 5 at positions 0, 1 and 2, so the sink is 2 away:

    >>> ones = np.ones((1, 6, 2))
    >>> seen = attend_streaming(ones, ones, ones, window=2, n_sink=1, rope=Rope(n_rot=2), scale=1.0)
    >>> seen.weights[0, 5].round(3).tolist()
    [0.04, 0.0, 0.0, 0.0, 0.274, 0.686]
    """
    checks.attention(q, k, v, scale)
    n_token: int = q.shape[1]
    checks.fits("k", k.shape, n_kv_head=None, n_token=n_token, head_dim=None)
    tokens = np.arange(n_token)
    mask = sinks_and_window(tokens, tokens, window, n_sink)
    output = np.zeros((len(q), len(tokens), v.shape[-1]))
    weights = np.zeros((len(q), len(tokens), len(tokens)))
    for token in tokens:
        kept = np.flatnonzero(mask[token])
        positions = np.arange(len(kept))
        query = rotate(q[:, [token]], positions[-1:], rope)
        keys = rotate(k[:, kept], positions, rope)
        seen = attend(query, keys, v[:, kept], np.ones((1, len(kept)), dtype=np.bool_), scale=scale)
        output[:, token] = seen.output[:, 0]
        weights[:, token, kept] = seen.weights[:, 0]
    return Attended(output=output, weights=weights, sink=np.zeros(weights.shape[:2]))


def attend_with_sink_token(
    q: AnyFloats,
    k: AnyFloats,
    v: AnyFloats,
    mask: Bools,
    *,
    sink_key: AnyFloats,
    sink_value: AnyFloats,
    scale: float | None = None,
) -> Attended:
    """A token trained to be a sink stands before all others, and every query sees it (StreamingLLM, section 3.3).

    It is a real token: it takes a cell and position 0, where rotation changes nothing, so that the conversation begins
    at position 1. `sink_key (n_kv_head, head_dim)` and `sink_value (n_kv_head, v_dim)` are what this layer computed for
    it. Weights have its column first: `(n_head, n_query, 1 + n_key)`.

    >>> q, k, v = np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    >>> key, value = np.array([[np.log(3.0)]]), np.array([[0.0]])
    >>> seen = attend_with_sink_token(q, k, v, np.array([[True]]), sink_key=key, sink_value=value)
    >>> seen.weights.round(6).tolist(), seen.output.round(6).tolist(), seen.sink_mass(n_sink=1).round(6).tolist()
    ([[[0.75, 0.25]]], [[[0.25]]], [[0.75]])
    """
    return _with_first(q, k, v, mask, ("sink_key", sink_key), ("sink_value", sink_value), scale)


def attend_with_bias(
    q: AnyFloats,
    k: AnyFloats,
    v: AnyFloats,
    mask: Bools,
    *,
    key_bias: AnyFloats,
    value_bias: AnyFloats,
    scale: float | None = None,
) -> Attended:
    """softmax(q [kᵀ k'] · scale) [v; v'] with a learned k' and v' in each layer (Sun et al., arXiv 2402.17762).

    The same sum as with a sink token, but k' and v' are parameters: no cell, no position, no rotation. `key_bias
    (n_kv_head, head_dim)`, `value_bias (n_kv_head, v_dim)`. Their weight is in `sink`; `weights` has the tokens alone.
    Zeros for both are a learned logit of 0.

    >>> q, k, v = np.ones((1, 1, 1)), np.zeros((1, 1, 1)), np.ones((1, 1, 1))
    >>> key, value = np.array([[np.log(3.0)]]), np.array([[2.0]])
    >>> seen = attend_with_bias(q, k, v, np.array([[True]]), key_bias=key, value_bias=value)
    >>> seen.weights.round(6).tolist(), seen.sink.round(6).tolist(), seen.output.round(6).tolist()
    ([[[0.25]]], [[0.75]], [[[1.75]]])
    """
    seen = _with_first(q, k, v, mask, ("key_bias", key_bias), ("value_bias", value_bias), scale)
    return Attended(output=seen.output, weights=seen.weights[..., 1:], sink=seen.weights[..., 0])


def attend_sigmoid(q: AnyFloats, k: AnyFloats, v: AnyFloats, mask: Bools, *, scale: float | None = None) -> Attended:
    """sigmoid(scale · q kᵀ) v, without normalization: each weight stands alone (Gu et al., arXiv 2410.10781).

    A query that needs nothing can take nothing, so no sink forms. Rows sum to anything from 0 to n_key.

    >>> q, k, v = np.zeros((1, 1, 1)), np.ones((1, 3, 1)), np.ones((1, 3, 1))
    >>> seen = attend_sigmoid(q, k, v, np.array([[True, True, False]]))
    >>> seen.weights.tolist(), seen.row_sums.tolist()
    ([[[0.5, 0.5, 0.0]]], [[1.0]])
    """
    checks.attention(q, k, v, scale)
    checks.bools("mask", mask, n_query=q.shape[1], n_key=k.shape[1])
    scores = np.where(mask, attention_scores(q, k, scale=scale), -math.inf)
    small = np.exp(-np.abs(scores))  # never above 1, so that no score overflows
    weights = np.where(scores >= 0, 1.0, small) / (1 + small)
    return Attended(output=weights @ for_each_head(v, len(q)), weights=weights, sink=np.zeros(weights.shape[:2]))


def _with_first(
    q: AnyFloats,
    k: AnyFloats,
    v: AnyFloats,
    mask: Bools,
    key: tuple[str, AnyFloats],
    value: tuple[str, AnyFloats],
    scale: float | None,
) -> Attended:
    """Attention with one more key and value, which every query sees; each with the name of its argument."""
    checks.attention(q, k, v, scale)
    checks.bools("mask", mask, n_query=q.shape[1], n_key=k.shape[1])
    keys = np.concatenate([_as_token(*key, k), k], axis=1)
    values = np.concatenate([_as_token(*value, v), v], axis=1)
    always = np.ones((len(mask), 1), dtype=np.bool_)
    return attend(q, keys, values, np.concatenate([always, mask], axis=1), scale=scale)


def _as_token(name: str, parameter: AnyFloats, tokens: AnyFloats) -> Floats:
    """`(n_kv_head, dim)` as one token, `(n_kv_head, 1, dim)`, to stand before `tokens`."""
    n_kv_head, _, dim = tokens.shape
    checks.floats(name, parameter)
    checks.fits(name, parameter.shape, n_kv_head=n_kv_head, dim=dim)
    return parameter.astype(np.float64)[:, np.newaxis]
