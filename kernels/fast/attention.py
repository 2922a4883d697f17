"""Attention over sinks and a window: a prompt in tiles, one token at the speed of memory."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import checks
from kernels.arrays import AnyFloats, Ints
from kernels.attention import attend_online
from kernels.fast.fallback import fast_or_warn
from kernels.fast.rows import CacheRows, Stored, check_stored
from kernels.masks import sinks_and_window

ROWS = 96
"""Rows of a tile of queries: the heads that share a key head, times as many queries as fit."""
MOST_QUERIES = 64
"""Queries of one tile: with more, each would meet more keys outside of its window."""
PART_CELLS = 512
"""Cells that one thread takes at a time when one token is decoded."""


def attend_window(
    q: AnyFloats,
    k: Stored,
    v: Stored,
    query_positions: Ints,
    key_positions: Ints,
    *,
    window: int,
    n_sink: int = 0,
    scale: float | None = None,
    softcap: float | None = None,
    sink_logits: AnyFloats | None = None,
) -> NDArray[np.float32]:
    """`attend_online` under `sinks_and_window`: the output `(n_head, n_query, v_dim)`, computed in float32.

    Keys are in any order, as in a ring; a cell at a position below 0 is empty (`ring.EMPTY`) and never seen. So a whole
    prompt, a chunk after a cache and the next token on a ring are the same call. Work grows with n_query times
    (n_sink + window); a single token reads each cell that it sees once.

    `k` and `v` are read in place: float32, float16, bfloat16 (as uint16), or `CacheRows`; float64 is narrowed.
    Without Numba the reference is used, after a `NumbaMissing` warning. ValueError for shapes that do not fit.

    A prompt with W = 3, each value its position, and then the next token on a ring with W = 4:

    >>> words = np.arange(6)
    >>> q = k = np.zeros((1, 6, 1), np.float32)
    >>> v = words.reshape(1, 6, 1).astype(np.float32)
    >>> attend_window(q, k, v, words, words, window=3).ravel().tolist()
    [0.0, 0.5, 1.0, 2.0, 3.0, 4.0]
    >>> ring = np.array([4, 5, 2, 3])
    >>> attend_window(q[:, 5:], k[:, ring], v[:, ring], words[5:], ring, window=4).ravel().tolist()
    [3.5]
    """
    checks.floats("q", q)
    check_stored("k", k)
    check_stored("v", v)
    checks.heads(q.shape, k.shape, v.shape)
    checks.scores(len(q), scale, softcap, sink_logits)
    query_positions = checks.integers("query_positions", query_positions, n_query=q.shape[1])
    key_positions = checks.integers("key_positions", key_positions, n_key=k.shape[1])
    window, n_sink = checks.tokens("window", window, 1), checks.tokens("n_sink", n_sink)
    keys, values = CacheRows.of(k), CacheRows.of(v)
    logits = sink_scores(sink_logits, len(q))
    if not fast_or_warn():
        filled = key_positions >= 0
        slow = attend_online(
            q,
            keys.floats()[:, filled],
            values.floats()[:, filled],
            partial(sinks_and_window, window=window, n_sink=n_sink),
            query_positions,
            key_positions[filled],
            scale=scale,
            softcap=softcap,
            sink_logits=sink_logits,
        )
        return slow.astype(np.float32)
    out = np.zeros((*q.shape[:2], values.dim), np.float32)
    shared = np.float32(softcap or 0), logits, keys.n_head
    if q.shape[1] == 1:
        _decode(scaled(q, scale), keys, values, query_positions, key_positions, window, n_sink, shared, out)
    elif out.size:
        _prefill(scaled(q, scale), keys, values, query_positions, key_positions, window, n_sink, shared, out)
    return out


def _decode(
    q: NDArray[np.float32],
    k: CacheRows,
    v: CacheRows,
    query_positions: Ints,
    key_positions: Ints,
    window: int,
    n_sink: int,
    shared: tuple[Any, ...],
    out: NDArray[np.float32],
) -> None:
    from kernels.fast.jit.compiler import threads_for
    from kernels.fast.jit.decode import decode

    now = query_positions[0]
    kept = (key_positions > now - window) | (key_positions < n_sink)
    cells = np.flatnonzero(kept & (key_positions <= now) & (key_positions >= 0))
    n_part = -(-len(cells) // PART_CELLS) or 1
    softcap, logits, n_kv_head = shared
    with threads_for(len(cells) * n_kv_head * (k.dim + v.dim)):
        decode(q[:, 0], k.compiled(), v.compiled(), cells, softcap, logits, n_kv_head, n_part, out[:, 0])


def _prefill(
    q: NDArray[np.float32],
    k: CacheRows,
    v: CacheRows,
    query_positions: Ints,
    key_positions: Ints,
    window: int,
    n_sink: int,
    shared: tuple[Any, ...],
    out: NDArray[np.float32],
) -> None:
    from kernels.fast.jit.compiler import threads_for
    from kernels.fast.jit.prefill import prefill

    order = np.flatnonzero(key_positions >= 0)
    positions = key_positions[order]
    if (positions[1:] < positions[:-1]).any():
        sort = np.argsort(positions, kind="stable")
        order, positions = order[sort], positions[sort]
    first = np.searchsorted(positions, query_positions - window, side="right")
    last = np.searchsorted(positions, query_positions, side="right")
    sinks = int(np.searchsorted(positions, n_sink))
    block = min(max(ROWS * k.n_head // len(q), 1), MOST_QUERIES)
    softcap, logits, n_kv_head = shared
    with threads_for(q.size * min(window + n_sink, k.n_cell)):
        prefill(q, k.compiled(), v.compiled(), order, first, last, sinks, softcap, logits, n_kv_head, block, out)


def scaled(q: AnyFloats, scale: float | None) -> NDArray[np.float32]:
    """Queries times `scale`, 1/√head_dim unless given, in float32 and contiguous."""
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return np.ascontiguousarray(q * np.float64(factor), np.float32)


def sink_scores(sink_logits: AnyFloats | None, n_head: int) -> NDArray[np.float32]:
    """The learned logit of each head; minus infinity where there is none."""
    if sink_logits is None:
        return np.full(n_head, -np.inf, np.float32)
    return np.ascontiguousarray(sink_logits, np.float32)
