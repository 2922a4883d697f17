"""Attention of one token over the cells that it sees, wherever they lie: the keys and values are read once.

Flash-decoding (Dao et al. 2023): the cells are split into parts, each part is attended to on its own, and the parts are
added in proportion to their sums. Memory is the limit, so the query heads that share a key head read it together.
"""

from typing import Any

import numpy as np
from numba import prange

from kernels.fast.jit.compiler import compiled, parallel
from kernels.fast.jit.numbers import copy, exp, load_rows
from kernels.fast.jit.tiles import clear, multiply_add, scale_row, soften

CELLS = 64
"""Cells in a tile, a multiple of four: 32 KiB of keys or of values. Half as many were 4% slower from memory."""


@parallel
def decode(
    q: Any, k: Any, v: Any, cells: Any, softcap: Any, sink_logits: Any, n_kv_head: int, n_part: int, out: Any
) -> None:
    """Attention of `q (n_head, head_dim)`, scaled already, over `cells`, into `out (n_head, v_dim)`, in float32.

    `k` and `v` are Rows. A `softcap` of 0 is none, so is a learned logit of minus infinity.
    """
    n_head, v_dim = out.shape
    group = n_head // n_kv_head
    part_out = np.zeros((n_part, n_head, v_dim), np.float32)
    part_top = np.full((n_part, n_head), -np.inf, np.float32)
    part_total = np.zeros((n_part, n_head), np.float32)
    for task in prange(n_kv_head * n_part):
        head, part = task // n_part, task % n_part
        left, right = part * len(cells) // n_part, (part + 1) * len(cells) // n_part
        _attend(q, k, v, cells[left:right], softcap, head, group, part_out[part], part_top[part], part_total[part])
    for head in range(n_head):
        top = sink_logits[head]
        for part in range(n_part):
            top = max(top, part_top[part, head])
        total = exp(sink_logits[head] - top) if sink_logits[head] > -np.inf else np.float32(0)
        for part in range(n_part):
            if part_total[part, head] != 0:  # nor is NaN, which has to show
                share = exp(part_top[part, head] - top)
                total += share * part_total[part, head]
                for d in range(v_dim):
                    out[head, d] += share * part_out[part, head, d]
        scale_row(out[head], np.float32(1) / total if total != 0 else np.float32(0))


@compiled
def _attend(
    q: Any,
    k: Any,
    v: Any,
    cells: Any,
    softcap: Any,
    kv_head: int,
    group: int,
    outputs: Any,
    top: Any,
    total: Any,
) -> None:
    """The heads of one key head over `cells`: sums of values, the largest score and the sum of weights, by head."""
    v_dim, first, n_row = outputs.shape[1], kv_head * group, (group + 3) // 4 * 4
    keys, values = np.zeros((CELLS, q.shape[1]), np.float32), np.zeros((CELLS, v_dim), np.float32)
    # Of this thread alone: Numba counts each use of an array, and threads that count in one place wait for each other.
    weights, sums = np.zeros((n_row, CELLS), np.float32), np.zeros((n_row, v_dim), np.float32)
    for start in range(0, len(cells), CELLS):
        here = cells[start : start + CELLS]
        load_rows(k, kv_head, here, keys)
        score(q[first : first + group], keys, len(here), weights)
        for h in range(group):
            seen = weights[h, : len(here)]
            top[first + h], total[first + h] = soften(seen, softcap, top[first + h], total[first + h], sums[h])
            clear(weights[h, len(here) :])
        load_rows(v, kv_head, here, values)
        multiply_add(sums, weights, values, n_row, (len(here) + 3) // 4 * 4, v_dim)
    for h in range(group):
        copy(sums[h], outputs[first + h])


@compiled
def score(q: Any, keys: Any, n_key: int, scores: Any) -> None:
    """q · k of the heads `q (group, head_dim)` that share `keys (..., head_dim)`: the first `n_key` of `scores`.

    Four keys meet two queries at a time, so that each is loaded for several sums, which run side by side: keys and
    scores have room for `n_key` rounded up to four, and what lies beyond it means nothing.
    """
    for j in range(0, n_key, 4):
        k0, k1, k2, k3 = keys[j], keys[j + 1], keys[j + 2], keys[j + 3]
        for h in range(0, len(q), 2):
            g = min(h + 1, len(q) - 1)  # an odd one out meets them twice
            a, b = q[h], q[g]
            a0, a1, a2, a3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            b0, b1, b2, b3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for d in range(len(a)):
                a0 += a[d] * k0[d]
                a1 += a[d] * k1[d]
                a2 += a[d] * k2[d]
                a3 += a[d] * k3[d]
                b0 += b[d] * k0[d]
                b1 += b[d] * k1[d]
                b2 += b[d] * k2[d]
                b3 += b[d] * k3[d]
            scores[h, j], scores[h, j + 1], scores[h, j + 2], scores[h, j + 3] = a0, a1, a2, a3
            scores[g, j], scores[g, j + 1], scores[g, j + 2], scores[g, j + 3] = b0, b1, b2, b3
