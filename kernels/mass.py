"""What one token attends to in one layer, summed by cell, by head and by group of cells: the numbers of a picture."""

from dataclasses import dataclass

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Bools, Floats, Ints
from kernels.attention import attend

NO_GROUP = -1
"""The group of a cell that is in no group."""


@dataclass(frozen=True)
class AttentionMass:
    """Shares of one token's attention. Those of all cells and the learned sink add up to 1 for each head."""

    cells: Floats
    """`(n_cell,)`: the share of each cell, mean over heads; 0 where the token cannot see."""
    sink: Floats
    """`(n_head,)`: what a learned sink took, which is not a cell; 0 where the layer has none."""
    groups: Floats
    """`(n_head, n_group)`: the share of each group of cells: a turn, or the kept first tokens."""
    top: Ints
    """The cells with the largest shares, the largest first; no cell that the token cannot see."""


def attention_mass(
    q: AnyFloats,
    k: AnyFloats,
    visible: Bools,
    *,
    scale: float | None = None,
    softcap: float | None = None,
    sink_logits: AnyFloats | None = None,
    groups: Ints | None = None,
    n_group: int = 0,
    n_top: int = 0,
) -> AttentionMass:
    """The attention of one token, `q (n_head, head_dim)`, to `k (n_kv_head, n_cell, head_dim)`, without the values.

    `visible (n_cell,)` is its row of the mask. `groups (n_cell,)` has the group of each cell, from 0 to `n_group` - 1,
    or NO_GROUP; kept sinks are a group like any other. The rest is as in `attend`. ValueError for shapes and
    groups that do not fit.

    Two heads, three cells of which two are seen. One head attends evenly, the other three times as much to the second:

    >>> q, k = np.array([[0.0], [np.log(3.0)]]), np.array([[[0.0], [1.0], [9.0]]])
    >>> mass = attention_mass(q, k, np.array([True, True, False]), groups=np.array([-1, 0, 0]), n_group=1, n_top=2)
    >>> mass.cells.round(6).tolist(), mass.groups.round(6).tolist(), mass.top.tolist()
    ([0.375, 0.625, 0.0], [[0.5], [0.75]], [1, 0])
    """
    checks.floats("q", q)
    checks.floats("k", k)
    checks.one_token(q.shape, k.shape)
    checks.scores(len(q), scale, softcap, sink_logits)
    n_head, n_cell = len(q), k.shape[1]
    checks.bools("visible", visible, n_cell=n_cell)
    group_of = group_numbers(groups, n_group, n_cell)
    n_top = checks.count("n_top", n_top)
    no_values = np.zeros((len(k), n_cell, 1))
    seen = attend(
        q[:, np.newaxis], k, no_values, visible[np.newaxis], scale=scale, softcap=softcap, sink_logits=sink_logits
    )
    weights = seen.weights[:, 0]
    by_group = np.zeros((n_head, n_group))
    for group in range(n_group):
        by_group[:, group] = weights[:, group_of == group].sum(axis=-1)
    cells = weights.mean(axis=0)
    return AttentionMass(cells=cells, sink=seen.sink[:, 0], groups=by_group, top=top_cells(cells, visible, n_top))


def top_cells(mass: AnyFloats, visible: Bools, n_top: int) -> Ints:
    """The `n_top` visible cells of largest `mass (n_cell,)`, or all that there are; of equal ones the first.

    >>> top_cells(np.array([0.2, 0.5, 0.2, 0.1]), np.array([True, True, True, False]), n_top=2).tolist()
    [1, 0]
    """
    checks.floats("mass", mass)
    checks.fits("mass", mass.shape, n_cell=None)
    checks.bools("visible", visible, n_cell=len(mass))
    n_top = checks.count("n_top", n_top)
    cells = np.flatnonzero(visible)
    if 0 < n_top < len(cells):  # sort no more than what may be among them: the probe asks for a few of thousands
        cells = cells[mass[cells] >= np.partition(mass[cells], -n_top)[-n_top]]
    return cells[np.argsort(-mass[cells], kind="stable")[:n_top]]


def group_numbers(groups: Ints | None, n_group: int, n_cell: int) -> Ints:
    """The group of each of `n_cell` cells: `groups`, or NO_GROUP everywhere. ValueError for a number that is none.

    >>> group_numbers(None, n_group=0, n_cell=2).tolist()
    [-1, -1]
    """
    n_group, n_cell = checks.count("n_group", n_group), checks.count("n_cell", n_cell)
    if groups is None:
        return np.full(n_cell, NO_GROUP)
    of = checks.integers("groups", groups, n_cell=n_cell)
    fits = bool(((of >= NO_GROUP) & (of < n_group)).all())
    checks.require(fits, f"groups must be numbered from 0 to {n_group - 1}, with {NO_GROUP} for none")
    return of
