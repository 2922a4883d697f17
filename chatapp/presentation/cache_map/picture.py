"""What the cache map shows of the events so far: blocks, heat, notes, and the text for a block. No widgets here.

Only what is the same for many snapshots is kept from one to the next, namely what belongs to a sample (of the
probe); everything else is made from the newest ones each time.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from typing import Final

from chatapp.presentation.cache_map.by_cell import ByCell, why_not
from chatapp.presentation.cache_map.cells import (
    BlockKind,
    BlockPart,
    Group,
    Picture,
    cells,
    in_window,
    parts,
    window_cells,
)
from chatapp.presentation.cache_map.heat import Heat, HeatSpan, PreparedSample, place_now
from chatapp.presentation.cache_map.known_cells import KnownCells
from chatapp.presentation.cache_map.words import ago, attention, describe, heat_note, quoted
from chatapp.protocol.events import Loaded, Probed, Snapshot

GLOBAL: Final = "global"
SLIDING: Final = "swa"
"""Kinds of layers, as a sample names them."""
ROOM_FOR_WORDS: Final = 24
"""Characters of a block's text that are shown."""
MOST_WORDS: Final = 512
"""Tokens whose text is requested at once."""


@dataclass(frozen=True)
class MapView:
    """How the map is shown."""

    by_cell: bool = False
    """Cells in order of number, as the newest sample found them, instead of in order of position."""
    heat: bool = False
    """The newest sample's attention on top."""


class MapPicture:
    """The newest picture; `update` makes it."""

    def __init__(self) -> None:
        self._view = MapView()
        self._snapshot: Snapshot | None = None
        self._loaded: Loaded | None = None
        self._known = KnownCells()
        self._sample: PreparedSample | None = None
        self._found: list[HeatSpan] | None = None
        """See `_there`."""
        self._line: list[BlockPart] = []
        """All cells of the snapshot, in order of position."""
        self._placed: dict[str, ByCell] = {}
        self._expected: tuple[PreparedSample, dict[str, ByCell]] | None = None
        """A sample that was prepared before it is drawn."""

    def expect(self, probed: Probed, snapshot: Snapshot, view: MapView) -> bool:
        """Prepare a sample that is drawn next; for a large cache that takes half as long as drawing it. False if that
        was done before, or is not needed.
        """
        drawn = self._sample is not None and self._sample.probed is probed
        expected = self._expected is not None and self._expected[0].probed is probed
        if drawn or expected or not (view.heat or view.by_cell):
            return False
        kinds = (GLOBAL, SLIDING) if view.by_cell else ()
        placed = {kind: found for kind in kinds if (found := _place(kind, probed, snapshot)) is not None}
        self._expected = PreparedSample(probed), placed
        return True

    def update(self, snapshot: Snapshot | None, loaded: Loaded | None, known: KnownCells, view: MapView) -> None:
        """Show this."""
        changed = snapshot is not self._snapshot
        self._snapshot, self._loaded, self._known, self._view = snapshot, loaded, known, view
        if changed:
            self._line = [] if snapshot is None else parts(snapshot)
        if known.sample is None:
            self._sample, self._placed = None, {}
        elif self._sample is None or known.sample is not self._sample.probed:
            expected = self._expected
            if expected is not None and expected[0].probed is known.sample:
                self._sample, self._placed = expected
            else:
                self._sample, self._placed = PreparedSample(known.sample), {}
            changed = True
        self._expected = None
        if changed or self._sample is None:
            self._found = None

    @property
    def by_cell(self) -> bool:
        """True if the cells are drawn by number: that was asked for, and there is something to draw."""
        return self._view.by_cell and self._sample is not None and why_not(self._sample.probed, self._loaded) is None

    def blocks(self, kind: str) -> Picture | None:
        """The blocks of one kind of layer, for any size; None if there is no cache, or no such layer was sampled."""
        if self._snapshot is None:
            return None
        if self.by_cell:
            return self._by_cell(kind)
        return partial(cells if kind == GLOBAL else window_cells, self._snapshot, line=self._line)

    @property
    def _there(self) -> list[HeatSpan]:
        """Where the sample's tokens are now; made on request, since the plain map does not need it."""
        if self._sample is None or self._snapshot is None:
            return []
        if self._found is None:
            self._found = self._sample.spans(self._snapshot.runs)
        return self._found

    @property
    def _heats(self) -> Mapping[str, Heat]:
        """By kind of layer; for cells by number it is that of the sample's own moment."""
        if self._sample is None or self._snapshot is None:
            return {}
        return self._sample.then if self.by_cell else self._sample.now(self._there)

    def heat(self, kind: str) -> Heat | None:
        """The heat to draw on top of these blocks, if any."""
        return self._heats.get(kind) if self._view.heat else None

    @property
    def kinds(self) -> Set[BlockKind]:
        """The kinds of cells in the map."""
        if self.by_cell and self._snapshot is not None:
            placed = [self._by_cell(kind) for kind in (GLOBAL, SLIDING)]
            return frozenset[BlockKind]().union(*(one.kinds for one in placed if one is not None))
        return frozenset(part.kind for part in self._line)

    @property
    def n_seen(self) -> int:
        """How many tokens the sliding window covers."""
        return 0 if self._snapshot is None else sum(part.n for part in in_window(self._snapshot, self._line))

    @property
    def wants_sample(self) -> bool:
        """True if a sample is to be shown and there is none, though there could be."""
        wanted = self._view.heat or self._view.by_cell
        return wanted and self._sample is None and self._loaded is not None and self._loaded.capability.probe.ok

    @property
    def notes(self) -> list[str]:
        """When the sample was taken and what has changed since; or why there is none."""
        if not (self._view.heat or self._view.by_cell):
            return []
        sample = self._sample
        why = why_not(None if sample is None else sample.probed, self._loaded)
        if sample is None or self._snapshot is None or why is not None:
            return [why] if why is not None else []
        notes = [f"by cell: as read from llama.cpp at position {sample.probed.pos:,}"] if self._view.by_cell else []
        if self._view.heat:
            newest = max((run.pos + run.n - 1 for run in self._snapshot.runs), default=0)
            notes.append(heat_note(sample.since(self._there, newest)))
        return notes

    # ----------------------------------------------------------------------- one block

    def about(self, kind: str, group: Group) -> str:
        """What a block holds, how long ago that was, how it begins, and how much attention it got."""
        told = [describe(group, by_cell=self.by_cell)]
        now = self._now(group)
        if self._snapshot is not None and now is not None and now.stretches:
            told += [ago(now, self._snapshot), quoted(self._known.words(*now.stretches[0]), ROOM_FOR_WORDS)]
        if (heat := self._heats.get(kind)) is not None:
            same = now is not None and now.stretches == group.stretches
            told.append(attention(group, heat, self._known.words if same else _no_words))
        return " · ".join(part for part in told if part)

    def unknown_words(self, group: Group) -> tuple[int, int] | None:
        """(position, how many) of the tokens that a block begins with, if their text is not known."""
        now = self._now(group)
        if now is None or not now.stretches:
            return None
        pos, n = now.stretches[0]
        n = min(n, MOST_WORDS)
        spelled = self._known.spelled
        asked_here = spelled is not None and spelled.pos == pos
        return None if asked_here or len(self._known.words(pos, n)) == n else (pos, n)

    def _now(self, group: Group) -> Group | None:
        """The block at its present positions; None if some of its tokens were evicted."""
        return place_now(group, self._there) if self.by_cell else group

    def _by_cell(self, kind: str) -> ByCell | None:
        """The cells by number; None for a kind of layer that the probe did not sample."""
        if kind in self._placed or self._sample is None or self._snapshot is None:
            return self._placed.get(kind)
        if (found := _place(kind, self._sample.probed, self._snapshot)) is not None:
            self._placed[kind] = found
        return found


def _place(kind: str, probed: Probed, snapshot: Snapshot) -> ByCell | None:
    n_cells = snapshot.n_ctx if kind == GLOBAL else snapshot.n_ctx_swa
    sight = next((sight for sight in probed.sights if sight.kind == kind), None)
    return None if sight is None else ByCell(probed, sight, n_cells or 0)


def _no_words(_pos: int, _n: int) -> Sequence[str]:
    return ()
