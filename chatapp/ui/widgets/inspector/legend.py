"""The legend: what the colours and letters of the cache map mean."""

from collections.abc import Container
from typing import ClassVar

from rich.segment import Segment
from textual.geometry import Size
from textual.strip import Strip

from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group
from chatapp.presentation.cache_map.heat import TOP_LEVEL
from chatapp.ui.widgets.inspector import paint
from chatapp.ui.widgets.inspector.snapshot_line import SnapshotLine

_GAP = 1
_ONE = Group(0, (BlockPart(BlockKind.TURN_A, 1, 1, "user", 0),))


class Legend(SnapshotLine):
    """A swatch and a name for each kind of cell; rarer kinds only while the map has them."""

    DEFAULT_CSS = "Legend { height: auto; }"
    NAMES: ClassVar[dict[BlockKind, str]] = {
        BlockKind.SINK: "sink",
        BlockKind.SYSTEM: "system",
        BlockKind.PINNED: "pinned",
        BlockKind.RECALLED: "recalled",
        BlockKind.PARTIAL: "partly evicted",
        BlockKind.ELSEWHERE: "other branch",
        BlockKind.UNSEEN: "not seen",
        BlockKind.STRAY: "not in the ledger",
    }

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._present: tuple[BlockKind, ...] = ()
        self._heat = False

    def show_kinds(self, kinds: Container[BlockKind], *, heat: bool) -> None:
        """Draw the legend of a map with these kinds of cells; lay out again only if they changed."""
        present = tuple(kind for kind in self.NAMES if kind in kinds)
        if (present, heat) != (self._present, self._heat):
            self._present, self._heat = present, heat
            self.refresh(layout=True)

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Lines for this width."""
        return len(self._lines(width))

    def render_line(self, y: int) -> Strip:
        """One line of swatches and names."""
        lines = self._lines(self.size.width)
        return self.strip(lines[y] if y < len(lines) else [])

    def _lines(self, width: int) -> list[list[Segment]]:
        """The entries, with line breaks between them."""
        lines: list[list[Segment]] = [[]]
        used = 0
        for entry in self._entries():
            wide = sum(segment.cell_length for segment in entry)
            if lines[-1] and used + _GAP + wide > width:
                lines.append([])
                used = 0
            if lines[-1]:
                lines[-1].append(Segment(" " * _GAP))
                used += _GAP
            lines[-1].extend(entry)
            used += wide
        return lines

    def _entries(self) -> list[list[Segment]]:
        palette = self.colours
        entries = [[paint.swatch(kind, False, palette), Segment(f" {self.NAMES[kind]}")] for kind in self._present]
        for reply, name in ((False, "you"), (True, "reply")):
            turns = [paint.swatch(kind, reply, palette) for kind in (BlockKind.TURN_A, BlockKind.TURN_B)]
            entries.append([*turns, Segment(f" {name}")])
        if BlockKind.UNSEEN not in self._present:  # by cell it is not known what is free, nor where the next token goes
            entries.append([paint.swatch(BlockKind.FREE, False, palette), Segment(" free")])
            entries.append([paint.head(palette), Segment(" next")])
        if self._heat:
            scale = [paint.heated(_ONE, level, palette) for level in range(TOP_LEVEL + 1)]
            entries.append([Segment("attention <0.03% "), *scale, Segment(" ≥32%")])
            entries.append([paint.unknown((BlockKind.TURN_A, False), palette), Segment(" newer")])
        return entries
