"""What one token looks at in one layer, summed by cell, by head and by group of cells."""

from typing import Any

import numpy as np
from numba import prange

from kernels.fast.jit.compiler import compiled, parallel
from kernels.fast.jit.decode import CELLS, score
from kernels.fast.jit.numbers import exp, load_rows
from kernels.fast.jit.tiles import scale_row, soften

PART = 256
"""Cells that one thread takes at a time: whole tiles."""


@parallel
def mass(
    q: Any,
    k: Any,
    cells: Any,
    softcap: Any,
    sink_logits: Any,
    n_kv_head: int,
    group_of: Any,
    weights: Any,
    by_cell: Any,
    sink: Any,
    by_group: Any,
) -> None:
    """The weights of `q (n_head, head_dim)`, scaled already, on `cells`, and their sums.

    `weights (n_head, at least n_cell rounded up to four)` takes scores, then weights. `by_cell (n_cell,)` becomes the
    mean over heads, `sink (n_head,)` the share of the learned logit, `by_group (n_head, n_group)` the sum over cells
    with that number in `group_of (n_cell,)`, where a negative number is no group.
    """
    n_head, n_cell = len(q), len(cells)
    group = n_head // n_kv_head
    n_part = (n_cell + PART - 1) // PART
    for task in prange(n_kv_head * n_part):
        head, start = task // n_part, task % n_part * PART
        _score(q, k, head, group, cells[start : start + PART], start, weights)
    nothing = np.zeros(0, np.float32)
    for head in prange(n_head):
        row = weights[head, :n_cell]
        logit = sink_logits[head]
        started = np.float32(1) if logit > -np.inf else np.float32(0)
        top, total = soften(row, softcap, logit, started, nothing)
        share = np.float32(1) / total if total != 0 else np.float32(0)
        scale_row(row, share)
        sink[head] = exp(logit - top) * share if logit > -np.inf else np.float32(0)
        for j in range(n_cell):
            if group_of[j] >= 0:
                by_group[head, group_of[j]] += row[j]
    for part in prange(n_part):
        for head in range(n_head):
            row = weights[head]
            for j in range(part * PART, min((part + 1) * PART, n_cell)):
                by_cell[j] += row[j] / np.float32(n_head)


@compiled
def _score(q: Any, k: Any, kv_head: int, group: int, cells: Any, start: int, weights: Any) -> None:
    """The scores of the heads of one key head on `cells`, from column `start` on."""
    first = kv_head * group
    keys = np.zeros((CELLS, q.shape[1]), np.float32)
    for left in range(0, len(cells), CELLS):
        here = cells[left : left + CELLS]
        load_rows(k, kv_head, here, keys)
        score(q[first : first + group], keys, len(here), weights[first : first + group, start + left :])
