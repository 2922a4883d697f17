"""Windowed attention of many queries, in the manner of flash attention: tiles of scores that never leave the caches.

FlashAttention-2 (arXiv 2307.08691) over the keys that a tile of queries can see: the sinks, then its window. Work grows
with n_query times (n_sink + window), not with n_query times n_key. The query heads that share a key head share tiles.
"""

from typing import Any

import numpy as np
from numba import prange

from kernels.fast.jit.compiler import compiled, parallel
from kernels.fast.jit.numbers import copy, load_rows
from kernels.fast.jit.tiles import clear, multiply_add, scale_row, soften

KEYS = 128
"""Keys in a tile: with 96 rows of queries of 128 numbers, all that is worked on is 300 KiB and stays in L2."""


@parallel
def prefill(
    q: Any,
    k: Any,
    v: Any,
    order: Any,
    first: Any,
    last: Any,
    n_sink: int,
    softcap: Any,
    sink_logits: Any,
    n_kv_head: int,
    block: int,
    out: Any,
) -> None:
    """Attention of `q (n_head, n_query, head_dim)`, scaled already, into `out (n_head, n_query, v_dim)`, in float32.

    `k` and `v` are Rows. `order` has the cells from the
    oldest token to the newest; query i sees its places `first[i]` to `last[i] - 1`, and of the first `n_sink` those
    before `last[i]`. A `softcap` of 0 is none, so is a learned logit of minus infinity. A tile has `block` queries of
    each head.
    """
    n_block = (q.shape[1] + block - 1) // block
    for task in prange(n_kv_head * n_block):
        head, start = task // n_block, task % n_block * block
        _attend(
            q,
            k,
            v,
            order,
            first,
            last,
            n_sink,
            softcap,
            sink_logits,
            head,
            len(q) // n_kv_head,
            start,
            min(block, q.shape[1] - start),
            out,
        )


@compiled
def _attend(
    q: Any,
    k: Any,
    v: Any,
    order: Any,
    first: Any,
    last: Any,
    n_sink: int,
    softcap: Any,
    sink_logits: Any,
    kv_head: int,
    group: int,
    query: int,
    block: int,
    out: Any,
) -> None:
    """One tile: `block` queries from `query` on, of the `group` heads of one key head. Row: head · block + query."""
    head_dim, v_dim, n_used = q.shape[2], out.shape[2], group * block
    n_row, depth = (n_used + 3) // 4 * 4, (head_dim + 3) // 4 * 4
    queries = np.zeros((n_row, depth), np.float32)
    rows, keys = np.empty((KEYS, head_dim), np.float32), np.zeros((depth, KEYS), np.float32)
    values = np.zeros((KEYS, v_dim), np.float32)
    scores = np.zeros((n_row, KEYS), np.float32)
    outputs = np.zeros((n_row, v_dim), np.float32)
    top, total = np.zeros(n_row, np.float32), np.zeros(n_row, np.float32)
    begin, end = len(order), 0
    for row in range(n_used):
        h, i = kv_head * group + row // block, query + row % block
        copy(q[h, i], queries[row, :head_dim])
        top[row] = sink_logits[h]
        total[row] = 0 if top[row] == -np.inf else 1
        begin, end = min(begin, first[i]), max(end, last[i])
    n_sink = min(n_sink, end)
    for start, stop in ((0, n_sink), (max(begin, n_sink), end)):
        for left in range(start, stop, KEYS):
            n_key = min(KEYS, stop - left)
            n_padded = (n_key + 3) // 4 * 4
            _load(k, v, kv_head, order[left : left + n_key], rows, keys, values)
            for j in range(n_key, n_padded):
                clear(values[j])  # their weights are 0, and 0 times what lay there might be NaN
            for row in range(n_row):
                clear(scores[row, :n_padded])
            multiply_add(scores, queries, keys, n_row, depth, n_padded)
            for row in range(n_used):
                i = query + row % block
                a = 0 if left < n_sink else min(max(first[i] - left, 0), n_key)
                b = max(min(last[i] - left, n_key), a)
                clear(scores[row, :a])
                clear(scores[row, b:n_padded])
                top[row], total[row] = soften(scores[row, a:b], softcap, top[row], total[row], outputs[row])
            multiply_add(outputs, scores, values, n_row, n_padded, v_dim)
    for row in range(n_used):
        scale_row(outputs[row], np.float32(0) if total[row] == 0 else np.float32(1) / total[row])
        copy(outputs[row], out[kv_head * group + row // block, query + row % block])


@compiled
def _load(k: Any, v: Any, head: int, cells: Any, rows: Any, keys: Any, values: Any) -> None:
    """The `cells` to a tile: keys in columns, by way of `rows`, values in rows."""
    load_rows(k, head, cells, rows)
    load_rows(v, head, cells, values)
    for d in range(rows.shape[1]):
        column = keys[d]
        for j in range(len(cells)):
            column[j] = rows[j, d]
