"""A sample of the probe as an event, for the interface and for traces."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from chatapp.cache.ledger import Ledger
from chatapp.engine.native.ggml import Floats
from chatapp.engine.probe.read import AttendedCells, AttentionSums, on_sinks
from chatapp.engine.probe.tap import DecodeCapture
from chatapp.protocol.attention_bytes import STEPS_A_HALVING, TOP
from chatapp.protocol.events import Probed
from chatapp.protocol.values import CellRun, LayerSight, Sight, TopCell

MOST_HEAT_BYTES: Final = 4096
"""For one kind of layer in one event; in a longer window several tokens share a byte."""
N_TOP: Final = 8


@dataclass(frozen=True, slots=True)
class KindSample:
    """The layers of one kind, and what they attended to."""

    kind: str
    cells: AttendedCells
    sums: AttentionSums


def event(
    turn: int, seen: DecodeCapture, ledger: Ledger, samples: Sequence[KindSample], mismatch: str | None, ms: float
) -> Probed:
    """The event; `samples` has at least one layer."""
    shares = np.concatenate([on_sinks(sample.sums, ledger) + sample.sums.learned for sample in samples])
    layers = [layer for sample in samples for layer in _layers(sample, seen, ledger)]
    return Probed(
        at_s=time.time(),
        turn=turn,
        pos=ledger.next_pos - 1,
        runs=[
            CellRun(turn=run.turn, role=run.role, kind=str(run.kind), pos=run.pos, n=len(run.tokens), lost=run.lost)
            for run in ledger.runs
        ],
        sink_share=_rounded(shares.mean()),
        sights=[_sight(sample) for sample in samples],
        layers=sorted(layers, key=lambda layer: layer.layer),
        mismatch=mismatch,
        ms=ms,
    )


def _sight(sample: KindSample) -> Sight:
    cells, mass = sample.cells, sample.sums.mass
    order = np.arange(len(mass)) if cells.positions is None else np.argsort(cells.positions)
    heat_tok = -(-len(mass) // MOST_HEAT_BYTES)
    heat = np.add.reduceat(mass[order], np.arange(0, len(mass), heat_tok))
    top = np.argsort(-mass, kind="stable")[:N_TOP]
    return Sight(
        kind=sample.kind,
        n_cells=cells.n_cells,
        n_visible=len(cells.visible),
        placed=_placed(cells),
        shares=[_rounded(share) for share in sample.sums.by_run.mean(axis=0)],
        heat=weights_as_bytes(heat),
        heat_tok=heat_tok,
        top=[
            TopCell(
                cell=int(cells.visible[i]),
                pos=None if cells.positions is None else int(cells.positions[i]),
                share=_rounded(mass[i]),
            )
            for i in top
        ],
    )


def _placed(cells: AttendedCells) -> list[tuple[int, int, int]]:
    if cells.positions is None:
        return []
    new = (np.diff(cells.visible, prepend=-2) != 1) | (np.diff(cells.positions, prepend=-2) != 1)
    firsts = np.flatnonzero(new)
    counts = np.diff(firsts, append=len(new))
    return [(int(cells.visible[i]), int(cells.positions[i]), int(n)) for i, n in zip(firsts, counts, strict=True)]


def _layers(sample: KindSample, seen: DecodeCapture, ledger: Ledger) -> list[LayerSight]:
    sums = sample.sums
    kept, learned = shares_as_bytes(on_sinks(sums, ledger)), shares_as_bytes(sums.learned)
    by_layer = np.add.reduceat(sums.by_run, [heads.start for heads in sums.heads], axis=0)
    counts = np.array([[heads.stop - heads.start] for heads in sums.heads], np.float32)
    runs = weights_as_bytes((by_layer / counts).astype(np.float32))
    n_runs = len(ledger.runs)
    layers: list[LayerSight] = []
    for i, (layer, heads) in enumerate(zip(sums.layers, sums.heads, strict=True)):
        experts, norm = seen.experts.get(layer), seen.norms.get(layer)
        layers.append(
            LayerSight(
                layer=layer,
                kind=sample.kind,
                kept=kept[heads],
                learned=learned[heads] if layer in sums.with_learned_sink else b"",
                runs=runs[i * n_runs : (i + 1) * n_runs],
                norm=None if norm is None else float(f"{norm:.5g}"),
                experts=experts.chosen if experts else [],
                expert_weights=[_rounded(weight) for weight in experts.weights] if experts else [],
            )
        )
    return layers


def shares_as_bytes(values: Floats) -> bytes:
    """See chatapp.protocol.attention_bytes.share."""
    return np.clip(np.rint(values * TOP), 0, TOP).astype(np.uint8).tobytes()


def weights_as_bytes(values: Floats) -> bytes:
    """See chatapp.protocol.attention_bytes.weight."""
    least = 2.0 ** (-TOP / STEPS_A_HALVING)
    steps = TOP + STEPS_A_HALVING * np.log2(np.maximum(values, least))
    return np.clip(np.rint(steps), 0, TOP).astype(np.uint8).tobytes()


def _rounded(value: npt.ArrayLike) -> float:
    """Six decimals: traces are read by people too."""
    return round(float(np.asarray(value)), 6)
