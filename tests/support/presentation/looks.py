"""Looks of the probe, made up for tests of the map; `placed` and `weights` decide everything else."""

from collections.abc import Mapping, Sequence

from chatapp.protocol.attention_bytes import weight
from chatapp.protocol.events import Probed
from chatapp.protocol.values import CellRun, Sight, TopCell
from tests.support.presentation.inspector_events import NOON_S

Placed = Sequence[tuple[int, int, int]]


def in_order(runs: Sequence[CellRun]) -> Placed:
    """Every token of these runs in the cell whose number is its rank."""
    placed: list[tuple[int, int, int]] = []
    cell = 0
    for run in runs:
        placed.append((cell, run.pos, run.n))
        cell += run.n
    return placed


def sight(placed: Placed, heat: Mapping[int, int], *, kind: str = "global", n_cells: int = 0, tok: int = 1) -> Sight:
    """What one kind of layer saw; `heat` has the byte of the tokens that were looked at, by position."""
    positions = sorted(p for _, pos, n in placed for p in range(pos, pos + n))
    levels = [heat.get(p, 0) for p in positions]
    return Sight(
        kind=kind,
        n_cells=n_cells or sum(n for _, _, n in placed),
        n_visible=len(positions),
        placed=list(placed),
        shares=[],
        heat=bytes(max(levels[at : at + tok]) for at in range(0, len(levels), tok)),
        heat_tok=tok,
        top=[TopCell(cell=0, pos=p, share=weight(level)) for p, level in heat.items()],
    )


def look(runs: Sequence[CellRun], *sights: Sight, mismatch: str | None = None, turn: int = 8) -> Probed:
    """A look at the last token of these runs."""
    return Probed(
        at_s=NOON_S + 61,
        turn=turn,
        pos=runs[-1].pos + runs[-1].n - 1,
        runs=list(runs),
        sink_share=0.5,
        sights=list(sights),
        layers=[],
        mismatch=mismatch,
        ms=3.0,
    )
