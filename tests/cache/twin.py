"""The ledger's slow, obvious twin: one row per cell."""

from dataclasses import dataclass, replace

from chatapp.cache.ledger import CellKind, Ledger


@dataclass(frozen=True)
class Cell:
    """One token where it stands; `opening` marks the markup that begins its message."""

    pos: int
    token: int
    turn: int
    role: str
    kind: CellKind
    opening: bool


class Twin:
    """What `Ledger` keeps as runs, as a list of cells, each operation written in the plainest way."""

    def __init__(self) -> None:
        self.cells: list[Cell] = []
        self.gone: dict[int, int] = {}
        self.n_evicted = 0

    @property
    def next_pos(self) -> int:
        return self.cells[-1].pos + 1 if self.cells else 0

    def append(self, turn: int, role: str, tokens: tuple[int, ...], kind: CellKind, opening: int) -> None:
        for i, token in enumerate(tokens):
            self.cells.append(Cell(self.next_pos, token, turn, role, kind, i < opening))
        self._tidy()

    def append_sinks_first(self, turn: int, role: str, tokens: tuple[int, ...], n_sink: int, opening: int) -> None:
        for i, token in enumerate(tokens):
            only_sinks = all(cell.kind is CellKind.SINK for cell in self.cells)
            kind = CellKind.SINK if only_sinks and len(self.cells) < n_sink else self._kind(turn)
            self.cells.append(Cell(self.next_pos, token, turn, role, kind, i < opening))
        self._tidy()

    def remove(self, p0: int, p1: int, *, evicted: bool) -> None:
        leaving = [cell for cell in self.cells if p0 <= cell.pos < p1]
        self.cells = [cell for cell in self.cells if not p0 <= cell.pos < p1]
        for cell in leaving:
            self.n_evicted += evicted
            if evicted or cell.kind is CellKind.RECALLED:
                self.gone[cell.turn] = self.gone.get(cell.turn, 0) + 1
        self._tidy()

    def _kind(self, turn: int) -> CellKind:
        """What a new token of this turn is: the same as its last one that is no sink."""
        kinds = [cell.kind for cell in self.cells if cell.turn == turn and cell.kind is not CellKind.SINK]
        return kinds[-1] if kinds else CellKind.RECENT

    def mark(self, turn: int, before: set[CellKind], after: CellKind) -> None:
        self.cells = [
            replace(cell, kind=after) if cell.turn == turn and cell.kind in before else cell for cell in self.cells
        ]
        self._tidy()

    def renumber(self, p0: int, delta: int) -> bool:
        """False, and nothing done, where two cells would share a position or swap places."""
        moved = [replace(cell, pos=cell.pos + delta) if cell.pos >= p0 else cell for cell in self.cells]
        positions = [cell.pos for cell in moved]
        if positions != sorted(set(positions)):
            return False
        self.cells = moved
        self._tidy()
        return True

    def _tidy(self) -> None:
        """Only what leads its piece of a message is its opening."""
        tidy: list[Cell] = []
        for cell in self.cells:
            before = tidy[-1] if tidy else None
            inside = (
                before is not None
                and before.pos == cell.pos - 1
                and (before.turn, before.role, before.kind) == (cell.turn, cell.role, cell.kind)
            )
            leads = cell.opening and (not inside or (before is not None and before.opening))
            tidy.append(replace(cell, opening=leads))
        self.cells = tidy


def cells_of(ledger: Ledger) -> list[Cell]:
    """A ledger as its twin would hold it."""
    return [
        Cell(run.pos + i, token, run.turn, run.role, run.kind, i < run.opening)
        for run in ledger.runs
        for i, token in enumerate(run.tokens)
    ]
