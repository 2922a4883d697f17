"""Where attention went: weights summed by cell, by run of the ledger, and by head."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chatapp.cache.ledger import CellKind, Ledger
from chatapp.engine.native.ggml import Floats
from chatapp.engine.probe.tap import Attention

Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class AttendedCells:
    """What one kind of layer sees: its cells, their positions and the runs they belong to."""

    n_cells: int
    """Cells of the cache."""
    visible: Ints
    """The cells that the token sees, ascending."""
    positions: Ints | None
    """The position of each of them, from llama.cpp; None where it does not report it."""
    runs: Ints
    """For each of them the index of its run in the ledger; -1 where no run has its position."""


@dataclass(frozen=True, slots=True)
class AttentionSums:
    """Where the attention of some layers went. A head's attention on cells and on its learned sink sums to 1.

    The heads of all these layers are in one row, those of layer `layers[i]` at `heads[i]`.
    """

    layers: Sequence[int]
    heads: Sequence[slice]
    mass: Floats
    """(n_visible,): mean over all heads."""
    by_run: Floats
    """(heads, n_runs)"""
    learned: Floats
    """(heads,): the attention on a learned sink, which is no cell."""
    with_learned_sink: frozenset[int]
    """The layers that have one."""


def cells(attention: Attention, positions: Ints | None, ledger: Ledger) -> AttendedCells:
    """`positions` are those of the visible cells, in the order of the cells."""
    visible = visible_cells(attention)
    if positions is None:
        return AttendedCells(attention.n_cache, visible, None, np.full(len(visible), -1, np.int32))
    starts = np.array([run.pos for run in ledger.runs], np.int32)
    ends = np.array([run.end for run in ledger.runs], np.int32)
    runs = np.searchsorted(starts, positions, side="right").astype(np.int32) - 1
    known = (runs >= 0) & (positions < ends[runs])
    return AttendedCells(attention.n_cache, visible, positions, np.where(known, runs, -1).astype(np.int32))


def visible_cells(attention: Attention) -> Ints:
    """The cells that the mask lets the token see, ascending."""
    return np.flatnonzero(np.isfinite(attention.mask)).astype(np.int32)


def weigh(layers: Sequence[Attention], weights: Sequence[Floats], seen: AttendedCells, n_runs: int) -> AttentionSums:
    """The attention of layers that see the same cells; `weights` has (n_head, n_cells) for each of them."""
    ends = np.cumsum([len(one) for one in weights])
    heads = [slice(int(end) - len(one), int(end)) for end, one in zip(ends, weights, strict=True)]
    by_cell = np.concatenate(weights)[:, seen.visible]
    order = np.argsort(seen.runs, kind="stable")
    runs = seen.runs[order]
    firsts = np.flatnonzero(np.diff(runs, prepend=-2))
    by_run = np.zeros((len(by_cell), 1 + n_runs), np.float32)  # the first column is that of no run
    by_run[:, 1 + runs[firsts]] = np.add.reduceat(by_cell[:, order], firsts, axis=1)
    sinks = frozenset(layer.layer for layer in layers if layer.sink_logits is not None)
    has_sink = np.concatenate(
        [np.full(len(one), layer.layer in sinks) for layer, one in zip(layers, weights, strict=True)]
    )
    return AttentionSums(
        layers=[layer.layer for layer in layers],
        heads=heads,
        mass=by_cell.mean(axis=0),
        by_run=by_run[:, 1:],
        learned=np.where(has_sink, np.maximum(0, 1 - by_run.sum(axis=1)), 0).astype(np.float32),
        with_learned_sink=sinks,
    )


def on_sinks(sums: AttentionSums, ledger: Ledger) -> Floats:
    """(heads,): the attention on the sinks that the cache keeps."""
    sinks = [index for index, run in enumerate(ledger.runs) if run.kind is CellKind.SINK]
    return sums.by_run[:, sinks].sum(axis=1)
