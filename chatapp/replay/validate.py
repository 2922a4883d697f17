"""What must be true of a snapshot and of a sample of the probe so that they can be drawn, beyond their field types.

It always is for the engine's own. But a trace may come from anywhere, and a picture of a hundred billion cells, or a
heat map without cells, would end a replay.
"""

from itertools import pairwise

from chatapp.protocol.events import Probed, Snapshot
from chatapp.protocol.values import CellRun, Sight
from chatapp.replay.lines import AnyLine

MOST_CELLS = 2**31 - 1
"""llama.cpp counts cells and positions in 32 bits."""


def problem(line: AnyLine) -> str | None:
    """Why a line cannot be drawn; None where it can."""
    match line:
        case Snapshot():
            return _of_snapshot(line)
        case Probed():
            return _of_look(line)
        case _:
            return None


def _of_snapshot(line: Snapshot) -> str | None:
    counts = (line.n_used, line.n_sink, line.n_elsewhere, line.evicted_tokens, line.evicted_turns, line.shifts)
    if not 0 < line.n_ctx <= MOST_CELLS or not 0 <= (line.n_ctx_swa or 0) <= MOST_CELLS:
        return f"a window of {line.n_ctx} cells"
    if any(number < 0 for number in counts) or line.n_used > line.n_ctx:
        return f"{line.n_used} of {line.n_ctx} cells in use"
    if any(ghost.tokens < 0 for ghost in line.ghosts):
        return "a negative number of evicted tokens"
    return _of_runs(line.runs, line.n_ctx)


def _of_runs(runs: list[CellRun], n_ctx: int | None) -> str | None:
    if any(run.n < 0 or run.lost < 0 or not 0 <= run.pos <= MOST_CELLS for run in runs):
        return "a run with a negative number of cells"
    if any(after.pos < run.pos + run.n for run, after in pairwise(runs)):
        return "runs that are out of order"
    if n_ctx is not None and sum(run.n for run in runs) > n_ctx:
        return "runs with more cells than the window"
    return None


def _of_look(line: Probed) -> str | None:
    if why := _of_runs(line.runs, None):
        return why
    if any(len(layer.runs) != len(line.runs) for layer in line.layers):
        return "attention that does not match the runs"
    return next((why for sight in line.sights if (why := _of_sight(sight, len(line.runs)))), None)


def _of_sight(sight: Sight, n_runs: int) -> str | None:
    if not 0 <= sight.n_visible <= sight.n_cells <= MOST_CELLS:
        return f"{sight.n_visible} of {sight.n_cells} cells visible"
    if sight.heat_tok < 1 or len(sight.heat) != -(-sight.n_visible // sight.heat_tok):
        return "a heat map that does not match the visible cells"
    if len(sight.shares) != n_runs:
        return "attention that does not match the runs"
    if any(n < 1 or cell < 0 or pos < 0 for cell, pos, n in sight.placed):
        return "a place without cells"
    if sight.placed and sum(n for _, _, n in sight.placed) != sight.n_visible:
        return "places that do not match the visible cells"
    return None
