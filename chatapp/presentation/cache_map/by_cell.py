"""The cache by cell: where llama.cpp put the tokens, as the probe read it from llama.cpp. Pure.

The map of `cells.py` is ordered by position, which is what attention sees. Here the cells are ordered by number, which
shows holes, reused cells, and how a sliding window moves through its cells. It is what one sample of the probe
found, and stays unchanged until the next one.
"""

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter

from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group, blocks, group_size, kind_of, new_part
from chatapp.protocol.events import Loaded, Probed
from chatapp.protocol.values import CellRun, Sight
from chatapp.text import LONGEST_SENTENCE, one_line


class ByCell:
    """The cells of one kind of layer, by number: worked out once for a sample, then cut into blocks for any size."""

    def __init__(self, probed: Probed, sight: Sight, n_cells: int) -> None:
        """`n_cells` is how many the cache has: llama.cpp reads only as many as it has used."""
        self.parts = _parts(probed.runs, sight, n_cells)
        self.kinds = frozenset(part.kind for part in self.parts)
        self._n = sum(part.n for part in self.parts)

    def __call__(self, width: int, height: int) -> list[Group]:
        """The cells in at most `width` x `height` blocks; `start` of a block is its first cell's number."""
        return blocks(self.parts, group_size(self._n, width, height))


def _parts(runs: Sequence[CellRun], sight: Sight, n_cells: int) -> list[BlockPart]:
    """What each cell holds, in cell order. With 131,072 cells it takes a quarter of a sample's first drawing."""
    found: list[BlockPart] = []
    owners = sorted(runs, key=attrgetter("pos"))
    starts = [run.pos for run in owners]
    ends = [run.pos + run.n for run in owners]
    kinds = [kind_of(run, frozenset()) for run in owners]
    cell = 0
    for first, pos, n in sight.placed:
        if first > cell:
            found.append(BlockPart(BlockKind.UNSEEN, first - cell))
        cell, end = first + n, pos + n
        i = bisect_right(starts, pos) - 1
        while pos < end:
            if i >= 0 and pos < ends[i]:
                upto = ends[i] if ends[i] < end else end
                found.append(new_part(kinds[i], upto - pos, owners[i].turn, owners[i].role, pos))
            else:
                upto = min(end, starts[i + 1]) if i + 1 < len(starts) else end
                found.append(BlockPart(BlockKind.STRAY, upto - pos, pos=pos))
            pos = upto
            if i + 1 < len(starts) and starts[i + 1] <= pos:
                i += 1
    if (total := max(n_cells, sight.n_cells)) > cell:
        found.append(BlockPart(BlockKind.UNSEEN, total - cell))
    return found


def why_not(probed: Probed | None, loaded: Loaded | None) -> str | None:
    """Why a sample has nothing to show, in one sentence; None if it has."""
    if probed is None:
        if loaded is not None and not loaded.capability.probe.ok:
            return f"Cells and attention cannot be read: {one_line(loaded.capability.probe.why, LONGEST_SENTENCE)}"
        return "No sample yet: the probe samples tokens of a reply."
    if not any(sight.placed for sight in probed.sights):
        return "For this model, llama.cpp does not say which cell holds which token."
    return None
