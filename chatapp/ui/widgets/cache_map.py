"""The cache map: evicted ghosts, the global cells, the sliding window's cells, and what the cursor is on."""

from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.strip import Strip
from textual.widgets import Static

from chatapp.ui import format
from chatapp.ui.cell_words import describe
from chatapp.ui.cells import cells, group_size, in_window, window_cells
from chatapp.ui.widgets.cell_grid import CellGrid
from chatapp.ui.widgets.ghost_strip import GhostStrip
from chatapp.ui.widgets.legend import Legend
from chatapp.ui.widgets.observed import Observed
from chatapp.ui.widgets.snapshot_line import SnapshotLine

MAP_ROWS = 8
"""Most rows of the global map."""


class WindowBracket(SnapshotLine):
    """The bracket under the sliding window's cells."""

    def render_line(self, y: int) -> Strip:
        """ "└─ window 512 ──┘", as wide as the window's blocks above it."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.n_swa is None or snapshot.n_ctx_swa is None:
            return self.strip([])
        seen = sum(part.n for part in in_window(snapshot))
        width = -(-seen // group_size(snapshot.n_ctx_swa, self.size.width, 1))
        inner = f" {seen:,} of window {snapshot.n_swa:,} "
        line = f"└{inner.center(width - 2, '─')}┘" if width >= len(inner) + 2 else f"┘{inner}" if seen else ""
        return self.strip([Segment(line, self.colours.style("window"))])


class CacheMap(Vertical):
    """The whole picture of the cache. Posts `TurnChosen(turn)` when a person clicks a block or presses Enter on it."""

    HELP = (
        "Each block stands for the same number of cells of the KV cache, in the order of their positions, and shows"
        " whose tokens they hold; marks before the map are turns that have left. "
        "What holds what comes from the engine's ledger at the newest snapshot, which is compared with the positions"
        " that llama.cpp itself reports; a disagreement is shown in red. "
        "Point at a block or move over it with the arrow keys for exact counts; a click or Enter goes to its turn."
    )
    DEFAULT_CSS = """
    CacheMap {
        height: auto;
        .words { text-style: dim; }
        #under { height: 2; }
        .swa { display: none; }
        &.-swa .swa { display: block; }
    }
    """

    def compose(self) -> ComposeResult:
        """Top to bottom: what left, what is there, what the sliding window sees, what the cursor is on, the legend."""
        yield GhostStrip(id="ghosts")
        yield CellGrid(cells, max_rows=MAP_ROWS, id="global")
        yield Static("sliding-window layers", classes="words swa", markup=False)
        yield CellGrid(window_cells, max_rows=1, id="window", classes="swa")
        yield WindowBracket(id="bracket", classes="swa")
        yield Static(classes="words", id="under", markup=False)
        yield Legend(id="legend")

    def look(self, observed: Observed) -> None:
        """Draw the newest snapshot."""
        snapshot = observed.snapshot
        self.set_class(snapshot is not None and snapshot.n_swa is not None and bool(snapshot.n_ctx_swa), "-swa")
        for line in self.query(SnapshotLine):
            line.show_snapshot(snapshot)
        for grid in self.query(CellGrid):
            grid.show_snapshot(snapshot)
        self._tell()

    def summary(self, observed: Observed) -> str:
        """ "512 cells", and those of the sliding-window layers."""
        snapshot = observed.snapshot
        if snapshot is None:
            return format.DASH
        return format.plural(snapshot.n_ctx, "cell") + (f" + {snapshot.n_ctx_swa:,}" if snapshot.n_ctx_swa else "")

    def on_cell_grid_pointed(self, event: CellGrid.Pointed) -> None:
        """Name what is under the cursor."""
        event.stop()
        self._tell()

    def _tell(self) -> None:
        pointed = next((grid.pointed for grid in self.query(CellGrid) if grid.pointed is not None), None)
        self.query_one("#under", Static).update(self._scale() if pointed is None else describe(pointed), layout=False)

    def _scale(self) -> str:
        """What one block stands for; the size of the first block is that of all but the last."""
        groups = self.query_one("#global", CellGrid).groups
        if not groups:
            return "no cache yet"
        n = groups[0].n
        return f"a block is {n:,} {'cell' if n == 1 else 'cells'}; point at one to see what it holds"
