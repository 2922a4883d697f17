"""Blocks of cells in rows, with a cursor that mouse and arrow keys move."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.strip import Strip
from textual.widget import Widget

from chatapp.presentation.cache_map.cells import Group, Picture
from chatapp.presentation.cache_map.heat import Heat
from chatapp.ui.widgets.inspector import paint
from chatapp.ui.widgets.inspector.snapshot_line import displayed

_CURSOR = Style(bold=True, reverse=True)


class TurnChosen(Message):
    """The person chose a turn in the cache map."""

    def __init__(self, turn: int) -> None:
        """`turn` is at least 1."""
        super().__init__()
        self.turn = turn


class CellGrid(Widget, can_focus=True):
    """The cache in blocks of cells. Posts `Pointed` and, on click or Enter, `TurnChosen`."""

    DEFAULT_CSS = "CellGrid { width: 1fr; height: auto; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left", "move(-1)", "Previous block", show=False),
        Binding("right", "move(1)", "Next block", show=False),
        Binding("up", "move_row(-1)", "Row above", show=False),
        Binding("down", "move_row(1)", "Row below", show=False),
        Binding("home", "move_to(0)", "First block", show=False),
        Binding("end", "move_to(-1)", "Last block", show=False),
        Binding("enter", "choose", "Go to this turn", show=False),
    ]

    class Pointed(Message):
        """The cursor is on a block, or (None) on none."""

        def __init__(self, group: Group | None) -> None:
            super().__init__()
            self.group = group

    def __init__(self, *, max_rows: int, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._max_rows = max_rows
        self._picture: Picture | None = None
        self._heat: Heat | None = None
        self._groups: list[Group] = []
        self._levels: list[int | None] = []
        """The heat's level for each block; empty without heat."""
        self._columns = 0
        self._cursor: int | None = None

    @property
    def groups(self) -> list[Group]:
        """The blocks as drawn, row by row."""
        return self._groups

    @property
    def pointed(self) -> Group | None:
        """The block under the cursor."""
        if self._cursor is None or self._cursor >= len(self._groups):
            return None
        return self._groups[self._cursor]

    @property
    def max_rows(self) -> int:
        """Most rows that the blocks may take."""
        return self._max_rows

    @max_rows.setter
    def max_rows(self, rows: int) -> None:
        if rows != self._max_rows:
            self._max_rows = rows
            self._regroup()
            self.refresh(layout=True)

    def show(self, picture: Picture | None, heat: Heat | None = None) -> None:
        """Draw this from now on, with the heat, if any, on top."""
        groups, levels, rows = self._groups, self._levels, self._rows
        changed, heated = picture is not self._picture, heat is not self._heat
        self._picture, self._heat = picture, heat
        if changed:
            self._groups = self._blocks()
        if changed or heated:
            self._levels = self._measured([] if heated else levels, groups)
        if self._rows != rows:
            self.refresh(layout=True)
        elif (changed or heated) and displayed(self):
            self._refresh_rows(groups, levels)
        if self._cursor is not None:
            self.post_message(self.Pointed(self.pointed))

    def on_show(self) -> None:
        """Catch up with what changed meanwhile."""
        self.refresh()

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """Rows for this width."""
        if width != self._columns:
            self._columns = width
            self._regroup()
        return self._rows

    def render_line(self, y: int) -> Strip:
        """One row of blocks."""
        colours = paint.palette_of(self)
        base = self.visual_style.rich_style
        here = slice(y * self._columns, (y + 1) * self._columns)
        row = self._groups[here]
        if self._levels:
            pairs = zip(row, self._levels[here], strict=True)
            segments = [paint.heated(group, level, colours) for group, level in pairs]
        else:
            segments = [paint.block(group, colours) for group in row]
        at = -1 if self._cursor is None else self._cursor - y * self._columns
        if 0 <= at < len(segments):
            # The block's own glyph, reversed, could look like another block; a cross cannot.
            segments[at] = Segment("+", _CURSOR)
        return paint.row(segments, base).extend_cell_length(self._columns, base)

    def action_move(self, blocks: int) -> None:
        """Move the cursor along the cells."""
        self._point(max(0, min(len(self._groups) - 1, (self._cursor or 0) + blocks)) if self._groups else None)

    def action_move_row(self, rows: int) -> None:
        """Move the cursor up or down if there is a block."""
        target = (self._cursor or 0) + rows * self._columns
        if 0 <= target < len(self._groups):
            self._point(target)

    def action_move_to(self, index: int) -> None:
        """Move the cursor to the first (0) or last (-1) block."""
        if self._groups:
            self._point(index % len(self._groups))

    def action_choose(self) -> None:
        """Go to the turn that holds most of this block."""
        if self.pointed is not None and self.pointed.main.turn:
            self.post_message(TurnChosen(self.pointed.main.turn))

    def on_focus(self) -> None:
        """Start at the newest token, where a person looks first."""
        if self._cursor is None:
            head = next((index for index, group in enumerate(self._groups) if group.head), 0)
            self._point(head if self._groups else None)

    def on_blur(self) -> None:
        """Hide the cursor."""
        self._point(None)

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Point at the block under the mouse."""
        self._point(self._index_at(event))

    def on_leave(self) -> None:
        """Hide the cursor; the keyboard's starts over."""
        self._point(None)

    def on_click(self, event: events.Click) -> None:
        """Choose the block under the mouse."""
        self._point(self._index_at(event))
        self.action_choose()

    @property
    def _rows(self) -> int:
        return -(-len(self._groups) // self._columns) if self._columns else 0

    def _regroup(self) -> None:
        self._groups = self._blocks()
        self._levels = self._measured([], [])

    def _blocks(self) -> list[Group]:
        return [] if self._picture is None or not self._columns else self._picture(self._columns, self._max_rows)

    def _measured(self, known: list[int | None], groups: list[Group]) -> list[int | None]:
        """The heat of the present blocks; `known` is that of `groups`, most of which are unchanged."""
        heat = self._heat
        if heat is None:
            return []
        return [
            known[i] if i < len(known) and groups[i] == group else heat.level(group)
            for i, group in enumerate(self._groups)
        ]

    def _refresh_rows(self, groups: list[Group], levels: list[int | None]) -> None:
        """Draw the rows whose blocks changed: in a large cache few do from one snapshot to the next."""
        for y in range(self._rows):
            here = slice(y * self._columns, (y + 1) * self._columns)
            if groups[here] != self._groups[here] or levels[here] != self._levels[here]:
                self._refresh_row(y)

    def _refresh_row(self, y: int) -> None:
        self.refresh(Region(0, y, self._columns, 1))

    def _index_at(self, event: events.MouseEvent) -> int | None:
        offset = event.get_content_offset(self)
        if offset is None:
            return None
        index = offset.y * self._columns + offset.x
        return index if offset.x < self._columns and index < len(self._groups) else None

    def _point(self, index: int | None) -> None:
        if index != self._cursor:
            for at in (self._cursor, index):
                if at is not None and self._columns:
                    self._refresh_row(at // self._columns)
            self._cursor = index
            self.post_message(self.Pointed(self.pointed))
