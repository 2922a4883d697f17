"""The cache map: evicted turns, the global cells, the sliding window's cells, and what the cursor is on."""

from collections.abc import Mapping
from textwrap import wrap
from typing import Final

from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.message import Message
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import Static

from chatapp.presentation import format
from chatapp.presentation.cache_map.cells import Group, group_size
from chatapp.presentation.cache_map.picture import GLOBAL, SLIDING, MapPicture, MapView
from chatapp.presentation.observed import Observed
from chatapp.ui.widgets.inspector.cell_grid import CellGrid
from chatapp.ui.widgets.inspector.ghost_strip import GhostStrip
from chatapp.ui.widgets.inspector.legend import Legend
from chatapp.ui.widgets.inspector.section import ViewChanged
from chatapp.ui.widgets.inspector.snapshot_line import SnapshotLine

MAP_ROWS: Final = 8
"""Most rows of the global map beside the chat."""
AROUND_ROWS: Final = 16
"""Rows of a whole screen that are not the map's."""
AT_ONCE: Final = 32_768
"""Cells up to which a look is prepared and drawn in one go: that takes less than 16 ms."""
MOST_BLOCKS: Final = 1000
"""Blocks of several cells in a zoomed map of more than eight rows: with 131,072 cells, as many as can be drawn within
16 ms, see benchmarks/draw_map.py."""
ASK_AFTER_S: Final = 0.15
"""How long the cursor rests on a block before its text is requested."""
ASK_AGAIN_S: Final = 1.0
"""How long to wait for an answer: none comes during a prefill, or without an engine."""
GRIDS: Final = {"#global": GLOBAL, "#window": SLIDING}
"""The kind of layer that each grid shows."""


class WindowBracket(SnapshotLine):
    """The bracket under the sliding window's cells."""

    n_seen = 0
    """Tokens that the window covers."""

    def render_line(self, y: int) -> Strip:
        """ "└─ window 480 of 512 ──┘", as wide as the window's blocks above it."""
        snapshot = self.snapshot
        if snapshot is None or snapshot.n_swa is None or snapshot.n_ctx_swa is None:
            return self.strip([])
        seen = self.n_seen
        width = -(-seen // group_size(snapshot.n_ctx_swa, self.size.width, 1))
        inner = f" window {seen:,} of {snapshot.n_swa:,} "
        line = f"└{inner.center(width - 2, '─')}┘" if width >= len(inner) + 2 else f"┘{inner}" if seen else ""
        return self.strip([Segment(line, self.colours.style("window"))])


class CacheMap(Vertical):
    """The whole picture of the cache.

    Posts `TurnChosen(turn)` when a person clicks a block or presses Enter on it, and `ViewChanged`. It requests what it
    needs beyond the events with `LookWanted` and `WordsWanted`, and does without if there is no answer.
    """

    HELP = (
        "Each block stands for the same number of KV cells, in order of position or (`c`) of cell number, and shows"
        " whose tokens they hold; the marks before the map are evicted turns, and the heat (`h`) shows where the most"
        " recently sampled token attended. "
        "What each cell holds comes from the engine's ledger, which is compared with the positions that llama.cpp"
        " reports, and a disagreement is shown in red; cell numbers and heat are read from llama.cpp's own cache, mask"
        " and attention weights while it computes. "
        "Point at a block, or move to it with the arrow keys, for exact counts; a click or Enter goes to its turn."
    )
    DEFAULT_CSS = """
    CacheMap {
        height: auto;
        .words { text-style: dim; }
        #under { height: 3; }
        #note { height: auto; display: none; }
        .swa { display: none; }
        &.-swa .swa { display: block; }
        &.-noted #note { display: block; }
        &.-sampled #under { height: 4; }
        &.-swa.-deep #bracket { display: none; }
    }
    """

    class LookWanted(Message):
        """A sample of the next token is wanted."""

    class WordsWanted(Message):
        """The text of the tokens from position `pos` on is wanted, at most `n`."""

        def __init__(self, pos: int, n: int) -> None:
            super().__init__()
            self.pos, self.n = pos, n

    def __init__(self) -> None:
        super().__init__()
        self._view = MapView()
        self._observed = Observed()
        self._picture = MapPicture()
        self._look_wanted = False
        self._noted: list[str] = []
        self._told = ""
        self._asking: Timer | None = None
        self._question: tuple[int, int] | None = None
        """The position and number of the tokens whose text was requested last."""

    def compose(self) -> ComposeResult:
        """Top to bottom: evicted turns, cells, what the sliding window sees, what the cursor is on, the legend."""
        yield GhostStrip(id="ghosts")
        yield CellGrid(max_rows=MAP_ROWS, id="global")
        yield Static("sliding-window layers", classes="words swa", markup=False)
        yield CellGrid(max_rows=1, id="window", classes="swa")
        yield WindowBracket(id="bracket", classes="swa")
        yield Static(classes="words", id="note", markup=False)
        yield Static(classes="words", id="under", markup=False)
        yield Legend(id="legend")

    # ----------------------------------------------------------------------- views

    @property
    def view(self) -> Mapping[str, str]:
        """See Viewed."""
        return {"order": "cell" if self._view.by_cell else "position", "heat": "on" if self._view.heat else "off"}

    def use_view(self, view: Mapping[str, str]) -> None:
        """See Viewed."""
        self._view = MapView(by_cell=view.get("order") == "cell", heat=view.get("heat") == "on")

    def toggle_heat(self) -> None:
        """Show or hide the newest look's attention on top of the map."""
        self._look_at(MapView(by_cell=self._view.by_cell, heat=not self._view.heat))

    def toggle_order(self) -> None:
        """Order the cells by number, or by position again."""
        self._look_at(MapView(by_cell=not self._view.by_cell, heat=self._view.heat))

    def _look_at(self, view: MapView) -> None:
        self._view = view
        self._look_wanted = False
        self.post_message(ViewChanged())

    # ----------------------------------------------------------------------- drawing

    def sort_out(self, observed: Observed) -> bool:
        """Prepare the newest look. True if its cache is so large that this was work enough for one turn of the loop."""
        snapshot, probed = observed.snapshot, observed.known.sample
        if snapshot is None or probed is None or snapshot.n_ctx <= AT_ONCE:
            return False
        return self._picture.expect(probed, snapshot, self._view)

    def look(self, observed: Observed) -> None:
        """Draw the newest snapshot."""
        self._observed = observed
        snapshot, picture = observed.snapshot, self._picture
        picture.update(snapshot, observed.loaded, observed.known, self._view)
        zoomed = any(node.has_class("-maximized") for node in self.ancestors_with_self)
        self.set_class(snapshot is not None and snapshot.n_swa is not None and bool(snapshot.n_ctx_swa), "-swa")
        self.set_class(zoomed or picture.by_cell, "-deep")
        self.set_class(observed.known.sample is not None, "-sampled")
        self.query_one(GhostStrip).show_snapshot(snapshot)
        bracket = self.query_one(WindowBracket)
        bracket.n_seen = picture.n_seen
        bracket.show_snapshot(snapshot)
        rows = self._zoomed_rows(0 if snapshot is None else snapshot.n_ctx) if zoomed else MAP_ROWS
        for name, kind in GRIDS.items():
            grid = self.query_one(name, CellGrid)
            grid.max_rows = rows if kind == GLOBAL else MAP_ROWS if zoomed else 1
            grid.show(picture.blocks(kind), picture.heat(kind))
        self.query_one(Legend).show_kinds(picture.kinds, heat=any(picture.heat(kind) for kind in GRIDS.values()))
        self._note(picture.notes)
        self._tell()
        if not picture.wants_sample:
            self._look_wanted = False
        elif not self._look_wanted:
            self._look_wanted = True
            # Drawn by the inspector, it would be the sender, and Textual 8.2.8 lets no message rise above its sender.
            self.post_message(self.LookWanted().set_sender(self))

    def _zoomed_rows(self, n_cells: int) -> int:
        """As many as fit on the screen, if a block is then one cell; else as many as can be drawn in time."""
        width, rows = max(1, self.size.width), max(MAP_ROWS, self.screen.size.height - AROUND_ROWS)
        return rows if n_cells <= width * rows else min(rows, max(MAP_ROWS, MOST_BLOCKS // width))

    def summary(self, observed: Observed) -> str:
        """ "512 cells", those of the sliding-window layers, and the view."""
        snapshot = observed.snapshot
        if snapshot is None:
            return format.DASH
        told = format.plural(snapshot.n_ctx, "cell") + (f" + {snapshot.n_ctx_swa:,}" if snapshot.n_ctx_swa else "")
        return told + (" · by cell" if self._view.by_cell else "") + (" · heat" if self._view.heat else "")

    def _note(self, notes: list[str]) -> None:
        """Write the lines under the map; lay out again only if their number changes."""
        lines = [line for note in notes for line in wrap(note, max(1, self.size.width))]
        if lines != self._noted:
            taller = len(lines) != len(self._noted)
            self._noted = lines
            self.set_class(bool(lines), "-noted")
            self.query_one("#note", Static).update("\n".join(lines), layout=taller)

    # ----------------------------------------------------------------------- the cursor

    def on_cell_grid_pointed(self, event: CellGrid.Pointed) -> None:
        """Name what is under the cursor."""
        event.stop()
        self._tell()

    @property
    def _pointed(self) -> tuple[str, Group] | None:
        """The kind of layer and the block that the cursor is on."""
        for name, kind in GRIDS.items():
            group = self.query_one(name, CellGrid).pointed
            if group is not None:
                return kind, group
        return None

    def _tell(self) -> None:
        pointed = self._pointed
        told = self._scale() if pointed is None else self._picture.about(*pointed)
        if told != self._told:
            self._told = told
            self.query_one("#under", Static).update(told, layout=False)
        self._want_words()

    def _want_words(self) -> None:
        """Ask once the cursor rests; for the same tokens again only if no answer came."""
        wanted = self._unknown_words
        same = wanted == self._question
        if wanted is None or (same and self._asking is not None):
            return
        if self._asking is not None:
            self._asking.stop()
        self._question = wanted
        self._asking = self.set_timer(ASK_AGAIN_S if same else ASK_AFTER_S, self._ask)

    @property
    def _unknown_words(self) -> tuple[int, int] | None:
        return None if (pointed := self._pointed) is None else self._picture.unknown_words(pointed[1])

    def _ask(self) -> None:
        self._asking = None
        if (wanted := self._unknown_words) is not None:
            self.post_message(self.WordsWanted(*wanted))

    def _scale(self) -> str:
        """What one block stands for; all blocks but the last are as large as the first."""
        first = next((grid.groups[0] for grid in self.query(CellGrid) if grid.groups), None)
        if first is None:
            return "no cache yet"
        return f"{format.plural(first.n, 'cell')} per block; point for details"
