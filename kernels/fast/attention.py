"""Attention over sinks and a window: a prompt in tiles, one token at the speed of memory."""

import math
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels.arrays import AnyFloats, Ints, require
from kernels.attention import attend_online
from kernels.fast.fallback import fast_or_warn
from kernels.fast.rows import CacheRows, Stored
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
    require(q.ndim == 3, f"queries are (n_head, n_query, head_dim), not {q.shape}")
    keys, values = CacheRows.of(k), CacheRows.of(v)
    check_heads(len(q), q.shape[2], keys)
    same = (keys.n_head, keys.n_cell) == (values.n_head, values.n_cell)
    require(same, f"{keys.n_cell} keys of {keys.n_head} heads, but {values.n_cell} values of {values.n_head}")
    require(
        query_positions.shape == q.shape[1:2], f"{q.shape[1]} queries cannot have positions {query_positions.shape}"
    )
    require(key_positions.shape == (keys.n_cell,), f"{keys.n_cell} keys cannot have positions {key_positions.shape}")
    require(window >= 1, f"a window holds at least the token itself, not {window} tokens")
    require(n_sink >= 0, f"the number of sinks cannot be {n_sink}")
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

    mask = sinks_and_window(query_positions, key_positions, window, n_sink)[0]
    cells = np.flatnonzero(mask & (key_positions >= 0))
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


def check_heads(n_head: int, head_dim: int, k: CacheRows) -> None:
    """ValueError unless queries of this shape can meet these keys."""
    require(n_head % k.n_head == 0, f"{n_head} query heads cannot share {k.n_head} key heads evenly")
    require(head_dim == k.dim, f"queries of {head_dim} numbers cannot meet keys of {k.dim}")


def scaled(q: AnyFloats, scale: float | None) -> NDArray[np.float32]:
    """Queries times `scale`, 1/√head_dim unless given, in float32 and contiguous."""
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return np.ascontiguousarray(q * np.float64(factor), np.float32)


def sink_scores(sink_logits: AnyFloats | None, n_head: int) -> NDArray[np.float32]:
    """The learned logit of each head; minus infinity where there is none."""
    if sink_logits is None:
        return np.full(n_head, -np.inf, np.float32)
    require(sink_logits.shape == (n_head,), f"{n_head} heads need {n_head} sink logits, not {sink_logits.shape}")
    return np.ascontiguousarray(sink_logits, np.float32)
