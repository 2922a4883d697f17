"""What one token attends to in one layer, read straight from a cache."""

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Bools, Ints
from kernels.fast.attention import scaled, sink_scores
from kernels.fast.fallback import fast_or_warn
from kernels.fast.rows import CacheRows, Stored, check_stored
from kernels.mass import AttentionMass, group_numbers, top_cells
from kernels.mass import attention_mass as slow


def attention_mass(
    q: AnyFloats,
    k: Stored,
    visible: Bools,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    sink_logits: AnyFloats | None = None,
    groups: Ints | None = None,
    n_group: int = 0,
    n_top: int = 0,
) -> AttentionMass:
    """`kernels.attention_mass`, with `k` as a cache stores it, read in place: see `CacheRows`.

    Only the visible cells are read; scores live for the length of the call, 4 bytes for each head and visible cell. The
    sums are made in float32. Without Numba the reference is used, after a `NumbaMissing` warning.

    Keys in float16, cell by cell as llama.cpp lays them; the first is not visible:

    >>> bytes_of_k = np.array([9.0, 0.0, 1.0], np.float16).view(np.uint8)
    >>> k = CacheRows(bytes_of_k, "F16", n_head=1, n_cell=3, dim=1, head_bytes=2, cell_bytes=2)
    >>> mass = attention_mass(np.array([[np.log(3.0)]]), k, np.array([False, True, True]), n_top=1)
    >>> mass.cells.round(6).tolist(), mass.top.tolist()
    ([0.0, 0.25, 0.75], [2])
    """
    checks.floats("q", q)
    check_stored("k", k)
    checks.one_token(q.shape, k.shape)
    checks.scores(len(q), scale, softcap, sink_logits)
    checks.bools("visible", visible, n_cell=k.shape[1])
    group_of = group_numbers(groups, n_group, k.shape[1])
    n_top = checks.count("n_top", n_top)
    keys = CacheRows.of(k)
    logits = sink_scores(sink_logits, len(q))
    if not fast_or_warn():
        return slow(
            q,
            keys.floats(),
            visible,
            scale=scale,
            softcap=softcap,
            sink_logits=sink_logits,
            groups=groups,
            n_group=n_group,
            n_top=n_top,
        )
    from kernels.fast.jit.compiler import threads_for
    from kernels.fast.jit.mass import mass

    cells = np.flatnonzero(visible)
    weights = np.empty((len(q), -(-len(cells) // 4) * 4), np.float32)
    by_cell, sink = np.zeros(len(cells), np.float32), np.zeros(len(q), np.float32)
    by_group = np.zeros((len(q), n_group), np.float32)
    arguments = (
        scaled(q, scale),
        keys.compiled(),
        cells,
        np.float32(softcap or 0),
        logits,
        keys.n_head,
        group_of[cells],
    )
    with threads_for(len(cells) * keys.n_head * keys.dim):
        mass(*arguments, weights, by_cell, sink, by_group)
    shares = np.zeros(keys.n_cell)
    shares[cells] = by_cell
    top = top_cells(shares, visible, n_top) if n_top else cells[:0]
    return AttentionMass(cells=shares, sink=sink.astype(np.float64), groups=by_group.astype(np.float64), top=top)
