"""Scaled dot-product attention, with its weights to inspect, and the same without ever building the weights.

Shapes, everywhere: `q (n_head, n_query, head_dim)`, `k (n_kv_head, n_key, head_dim)`, `v (n_kv_head, n_key, v_dim)`,
`mask (n_query, n_key)`. Query head h reads key and value head `h // (n_head / n_kv_head)` (grouped-query attention).
No queries and no keys are fine, and give empty arrays and zeros. ValueError for anything else that does not fit.
"""

import math
from dataclasses import dataclass

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Bools, Floats, Ints, Rule


@dataclass(frozen=True)
class Attended:
    """What attention returns.

    >>> half = Attended(output=np.zeros((1, 1, 2)), weights=np.array([[[0.2, 0.3]]]), sink=np.array([[0.5]]))
    >>> half.row_sums.tolist(), half.sink_mass(n_sink=1).tolist()
    ([[0.5]], [[0.7]])
    """

    output: Floats
    """The values, weighted: `(n_head, n_query, v_dim)`."""
    weights: Floats
    """How much each query attends to each key: `(n_head, n_query, n_key)`."""
    sink: Floats
    """What a learned sink took, which is not a token: `(n_head, n_query)`; 0 where the layer has none."""

    @property
    def row_sums(self) -> Floats:
        """`(n_head, n_query)`: 1 for a softmax, less with a learned sink, anything for a sigmoid."""
        return self.weights.sum(axis=-1)

    def sink_mass(self, n_sink: int) -> Floats:
        """`(n_head, n_query)`: the weight that rests on the first `n_sink` keys, and on the learned sink."""
        return self.weights[:, :, : checks.count("n_sink", n_sink)].sum(axis=-1) + self.sink


def attend(
    q: AnyFloats,
    k: AnyFloats,
    v: AnyFloats,
    mask: Bools,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    sink_logits: AnyFloats | None = None,
) -> Attended:
    """softmax(mask(cap(scale · q kᵀ))) v, with `scale` 1/√head_dim unless given (Vaswani et al. 2017, equation 1).

    `softcap` bounds the scores to ±softcap: `cap(x) = softcap · tanh(x / softcap)` (Gemma 2), before the mask.
    `sink_logits (n_head,)` join the softmax as one more score and are dropped after it, so that the row sums to less
    than 1 (gpt-oss). A query that sees nothing gets weights and output of 0. ValueError for shapes that do not fit.

    Two keys of equal score get a half each; with a learned logit as high as they are, a third:

    >>> q, k, v = np.zeros((1, 1, 2)), np.ones((1, 2, 2)), np.array([[[3.0, 0.0], [0.0, 3.0]]])
    >>> seen = attend(q, k, v, np.array([[True, True]]))
    >>> seen.weights.tolist(), seen.output.tolist()
    ([[[0.5, 0.5]]], [[[1.5, 1.5]]])
    >>> seen = attend(q, k, v, np.array([[True, True]]), sink_logits=np.zeros(1))
    >>> seen.weights.round(3).tolist(), seen.output.round(3).tolist(), seen.sink.round(3).tolist()
    ([[[0.333, 0.333]]], [[[1.0, 1.0]]], [[0.333]])
    """
    checks.attention(q, k, v, scale, softcap, sink_logits)
    checks.bools("mask", mask, n_query=q.shape[1], n_key=k.shape[1])
    scores = np.where(mask, _scores(q, k, scale, softcap), -math.inf)
    sinks = _sink_scores(sink_logits, n_head=len(q), n_query=q.shape[1])
    top = np.maximum(scores.max(axis=-1, initial=-math.inf), sinks)
    top = np.where(np.isfinite(top), top, 0.0)  # a query that sees nothing: exp(-inf - 0) = 0, not exp(-inf + inf)
    exp_scores = np.exp(scores - top[..., np.newaxis])
    exp_sinks = np.exp(sinks - top)
    total = exp_scores.sum(axis=-1) + exp_sinks
    total = np.where(total > 0, total, 1.0)
    weights = exp_scores / total[..., np.newaxis]
    return Attended(output=weights @ for_each_head(v, len(q)), weights=weights, sink=exp_sinks / total)


def attend_online(
    q: AnyFloats,
    k: AnyFloats,
    v: AnyFloats,
    rule: Rule,
    query_positions: Ints,
    key_positions: Ints,
    *,
    block: int = 64,
    scale: float | None = None,
    softcap: float | None = None,
    sink_logits: AnyFloats | None = None,
) -> Floats:
    """The output of `attend`, `(n_head, n_query, v_dim)`, reading `block` keys at a time and keeping no weights.

    The online softmax (Milakov and Gimelshein, arXiv 1805.02867), as in flash attention: keep the largest score yet,
    the sum of exponentials relative to it, and the sum of values; when a larger score comes, rescale both sums. A
    learned sink is where the sums begin. The mask is a rule over positions, for the mask itself would be a matrix.

    >>> from functools import partial
    >>> from kernels.masks import sliding_window
    >>> words = np.arange(6)
    >>> q, k, v = np.zeros((1, 6, 1)), np.zeros((1, 6, 1)), words.reshape(1, 6, 1).astype(float)
    >>> attend_online(q, k, v, partial(sliding_window, window=3), words, words, block=2).ravel().round(6).tolist()
    [0.0, 0.5, 1.0, 2.0, 3.0, 4.0]
    """
    checks.attention(q, k, v, scale, softcap, sink_logits)
    query_positions = checks.integers("query_positions", query_positions, n_query=q.shape[1])
    key_positions = checks.integers("key_positions", key_positions, n_key=k.shape[1])
    block = checks.count("block", block, 1)
    rule(query_positions, key_positions[:0])  # for its checks, also where there are no keys
    largest = _sink_scores(sink_logits, n_head=len(q), n_query=q.shape[1])
    total = np.where(np.isfinite(largest), 1.0, 0.0)
    values = np.zeros((*q.shape[:2], v.shape[-1]))
    for start in range(0, k.shape[1], block):
        part = slice(start, start + block)
        mask = rule(query_positions, key_positions[part])
        scores = _scores(q, k[:, part], scale, softcap)
        checks.bools("what the rule returns", mask, n_query=scores.shape[1], n_key=scores.shape[2])
        scores = np.where(mask, scores, -math.inf)
        higher = np.maximum(largest, scores.max(axis=-1))
        base = np.where(np.isfinite(higher), higher, 0.0)
        rescale = np.exp(largest - base)
        exp_scores = np.exp(scores - base[..., np.newaxis])
        total = total * rescale + exp_scores.sum(axis=-1)
        values = values * rescale[..., np.newaxis] + exp_scores @ for_each_head(v[:, part], len(q))
        largest = higher
    return values / np.where(total > 0, total, 1.0)[..., np.newaxis]


def attention_scores(q: AnyFloats, k: AnyFloats, *, scale: float | None = None, softcap: float | None = None) -> Floats:
    """cap(scale · q kᵀ), before any mask: `(n_head, n_query, n_key)`.

    >>> attention_scores(np.array([[[3.0, 4.0]]]), np.array([[[3.0, 4.0]]]), scale=2.0).tolist()
    [[[50.0]]]
    >>> attention_scores(np.array([[[3.0, 4.0]]]), np.array([[[3.0, 4.0]]]), scale=2.0, softcap=50.0).round(3).tolist()
    [[[38.08]]]
    """
    checks.attention(q, k, k, scale, softcap)
    return _scores(q, k, scale, softcap)


def _scores(q: AnyFloats, k: AnyFloats, scale: float | None, softcap: float | None) -> Floats:
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = factor * (q.astype(np.float64) @ for_each_head(k, len(q)).swapaxes(-1, -2))
    return scores if softcap is None else softcap * np.tanh(scores / softcap)


def for_each_head(shared: AnyFloats, n_head: int) -> Floats:
    """Keys or values `(n_kv_head, n_key, dim)` repeated for the query heads that share them: `(n_head, n_key, dim)`.

    Four query heads on two key heads: heads 0 and 1 read the first, 2 and 3 the second.

    >>> for_each_head(np.array([[[1.0]], [[2.0]]]), n_head=4).ravel().tolist()
    [1.0, 1.0, 2.0, 2.0]
    """
    checks.floats("shared", shared)
    checks.fits("shared", shared.shape, n_kv_head=None, n_key=None, dim=None)
    checks.shared(checks.count("n_head", n_head, 1), len(shared))
    return np.repeat(shared.astype(np.float64), n_head // len(shared), axis=0)


def _sink_scores(sink_logits: AnyFloats | None, *, n_head: int, n_query: int) -> Floats:
    """The learned logit of each head for each query, `(n_head, n_query)`; minus infinity where there is none."""
    logits = np.full(n_head, -math.inf) if sink_logits is None else sink_logits.astype(np.float64)
    return np.repeat(logits[:, np.newaxis], n_query, axis=1)
