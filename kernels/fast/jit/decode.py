"""Attention of one token over the cells that it sees, wherever they lie: the keys and values are read once.

Flash-decoding (Dao et al. 2023): the cells are split into parts, each part is attended to on its own, and the parts are
added in proportion to their sums. Memory is the limit, so the query heads that share a key head read it together.
"""

from typing import Any

import numpy as np
from numba import prange

from kernels.fast.jit.compiler import compiled, parallel
from kernels.fast.jit.numbers import exp, load_row
from kernels.fast.jit.tiles import clear, scale_row, soften

CELLS = 64
"""Cells between two looks at the largest score."""


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
    v_dim, first = outputs.shape[1], kv_head * group
    weights = np.empty((group, CELLS), np.float32)
    rows = np.zeros((4, v_dim), np.float32)
    v0, v1, v2, v3 = rows[0], rows[1], rows[2], rows[3]
    for start in range(0, len(cells), CELLS):
        here = cells[start : start + CELLS]
        score(q[first : first + group], k, kv_head, here, weights)
        for h in range(group):
            seen = weights[h, : len(here)]
            top[first + h], total[first + h] = soften(
                seen, softcap, top[first + h], total[first + h], outputs[first + h]
            )
            clear(weights[h, len(here) :])
        for j in range(0, len(here), 4):
            for n in range(min(4, len(here) - j)):
                load_row(v, kv_head, here[j + n], rows[n])
            for h in range(group):
                w0, w1, w2, w3 = weights[h, j], weights[h, j + 1], weights[h, j + 2], weights[h, j + 3]
                output = outputs[first + h]
                for d in range(v_dim):
                    output[d] += w0 * v0[d] + w1 * v1[d] + w2 * v2[d] + w3 * v3[d]


@compiled
def score(q: Any, k: Any, kv_head: int, cells: Any, scores: Any) -> None:
    """q · k of the heads `q (group, head_dim)` that share a key head with each of `cells`, into `scores (group, ...)`.

    Four keys are met at a time, so that a query is loaded once for all four and their sums run side by side: `scores`
    has room for the number of cells rounded up to four, and what lies beyond it means nothing.
    """
    head_dim = q.shape[1]
    rows = np.zeros((4, head_dim), np.float32)
    k0, k1, k2, k3 = rows[0], rows[1], rows[2], rows[3]
    for j in range(0, len(cells), 4):
        for n in range(min(4, len(cells) - j)):
            load_row(k, kv_head, cells[j + n], rows[n])
        for h in range(len(q)):
            query = q[h]
            s0, s1, s2, s3 = np.float32(0), np.float32(0), np.float32(0), np.float32(0)
            for d in range(head_dim):
                s0 += query[d] * k0[d]
                s1 += query[d] * k1[d]
                s2 += query[d] * k2[d]
                s3 += query[d] * k3[d]
            scores[h, j], scores[h, j + 1], scores[h, j + 2], scores[h, j + 3] = s0, s1, s2, s3
