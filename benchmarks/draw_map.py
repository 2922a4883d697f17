"""How long one drawing of the cache map takes, from snapshot to finished lines, for windows up to 131,072 cells: as it
is, with the heat of a look on top, and by cell with the heat (128,000 tokens in pieces of 64 in any order).

A terminal that is redrawn 60 times a second has 16 ms for everything. Snapshots are new ones each time; the look stays
the same for many of them, and what it takes to show a new one is told apart.
Prints a table, then one JSON line: `python -m benchmarks.draw_map [--repeat N]`.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Callable
from functools import partial

from textual.app import App, ComposeResult
from textual.geometry import Region

from chatapp.engine.protocol import CellRun, Ghost, Probed, Sight, Snapshot
from chatapp.ui.cells import cells
from chatapp.ui.heat import Look
from chatapp.ui.placed import ByCell
from chatapp.ui.widgets.cache_map import MAP_ROWS
from chatapp.ui.widgets.cell_grid import CellGrid

LIMIT_MS = 16.0
WINDOWS = (512, 4096, 32_768, 131_072)
WIDTHS = (34, 48, 120)
MOST_HEAT_BYTES = 4096
"""Of the engine's looks: see chatapp.engine.probe_report."""
WAYS = ("plain", "heat", "by_cell", "new_look")
PIECE_TOK = 64
"""Neighbouring tokens that lie in neighbouring cells."""


class MapApp(App[None]):
    """A screen with nothing but the map."""

    def compose(self) -> ComposeResult:
        """The map."""
        yield CellGrid(max_rows=MAP_ROWS)


def full_window(n_ctx: int, longest: int) -> Snapshot:
    """A full cache of messages of 1 to `longest` tokens."""
    draw = random.Random(n_ctx)
    runs = [CellRun(turn=0, role="system", kind="sink", pos=0, n=4)]
    pos, message = 4, 0
    while pos < n_ctx:
        n = min(n_ctx - pos, draw.randint(1, longest))
        role = "assistant" if message % 2 else "user"
        runs.append(CellRun(turn=1 + message // 2, role=role, kind="recent", pos=pos, n=n))
        pos, message = pos + n, message + 1
    return Snapshot(
        at_s=0.0,
        runs=runs,
        ghosts=[Ghost(turn=1, tokens=9, whole=True)],
        evicted_tokens=9,
        evicted_turns=1,
        shifts=1,
        n_ctx=n_ctx,
        n_ctx_swa=None,
        n_swa=None,
        n_sink=4,
        n_used=n_ctx,
        pos_min=0,
        pos_max=n_ctx - 1,
        mismatch=None,
        resident_bytes=None,
        devices=[],
        prompt_tok_s=None,
        decode_tok_s=None,
    )


def look_at(snapshot: Snapshot) -> Probed:
    """A look at the newest token of a full window, whose pieces of 64 tokens lie in any order."""
    draw = random.Random(snapshot.n_ctx)
    pieces = list(range(0, snapshot.n_ctx, PIECE_TOK))
    draw.shuffle(pieces)
    heat_tok = -(-snapshot.n_ctx // MOST_HEAT_BYTES)
    sight = Sight(
        kind="global",
        n_cells=snapshot.n_ctx,
        n_visible=snapshot.n_ctx,
        placed=[(i * PIECE_TOK, pos, PIECE_TOK) for i, pos in enumerate(pieces)],
        shares=[],
        heat=draw.randbytes(-(-snapshot.n_ctx // heat_tok)),
        heat_tok=heat_tok,
        top=[],
    )
    return Probed(
        at_s=0.0,
        pos=snapshot.n_ctx - 1,
        runs=snapshot.runs,
        sink_share=0.5,
        sights=[sight],
        layers=[],
        mismatch=None,
        ms=0.0,
    )


def drawings(snapshot: Snapshot, probed: Probed) -> dict[str, Callable[[CellGrid], None]]:
    """What is measured, by name."""
    look = Look(probed)
    by_cell = ByCell(probed, probed.sights[0], snapshot.n_ctx)

    def new_look(grid: CellGrid) -> None:
        new = Look(probed)
        grid.show(ByCell(probed, probed.sights[0], snapshot.n_ctx), new.then["global"])

    return {
        "plain": lambda grid: grid.show(partial(cells, snapshot)),
        "heat": lambda grid: grid.show(partial(cells, snapshot), look.now(snapshot.runs)["global"]),
        "by_cell": lambda grid: grid.show(by_cell, look.then["global"]),
        "new_look": new_look,
    }


async def measure(n_ctx: int, width: int, repeat: int) -> dict[str, float]:
    """Milliseconds of `repeat` drawings of each kind in turn: CPU time, which a busy machine changes little, and the
    slowest by the clock.
    """
    snapshot = full_window(n_ctx, longest=120)
    ways = drawings(snapshot, look_at(snapshot))
    took_ms: list[float] = []
    cpu_ms: dict[str, list[float]] = {way: [] for way in ways}
    app = MapApp()
    async with app.run_test(size=(width, MAP_ROWS)) as pilot:
        grid = app.query_one(CellGrid)
        ways["plain"](grid)
        await pilot.pause()
        lines = Region(0, 0, grid.size.width, grid.size.height)
        for _ in range(repeat):
            for way, draw in ways.items():
                draw(grid)
                began, cpu_began = time.perf_counter(), time.thread_time()
                draw(grid)
                grid.render_lines(lines)
                took_ms.append((time.perf_counter() - began) * 1000)
                cpu_ms[way].append((time.thread_time() - cpu_began) * 1000)
    medians = {way: statistics.median(times) for way, times in cpu_ms.items()}
    return {
        "n_ctx": n_ctx,
        "width": width,
        "messages": len(snapshot.runs),
        **{f"{way}_cpu_ms": medians[way] for way in ways},
        "heat_to_plain": medians["heat"] / medians["plain"],
        "slowest_ms": max(took_ms),
    }


async def main() -> None:
    """Measure every window at every width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=50, help="drawings for each line of the table")
    repeat: int = parser.parse_args().repeat
    print("CPU milliseconds of a drawing")
    names = " ".join(f"{way.replace('_', ' '):>8}" for way in WAYS)
    print(f"{'cells':>8} {'messages':>9} {'columns':>8} {names} {'heat/plain':>12}")
    rows: list[dict[str, float]] = []
    for n_ctx in WINDOWS:
        for width in WIDTHS:
            row = await measure(n_ctx, width, repeat)
            rows.append(row)
            times = " ".join(f"{row[f'{way}_cpu_ms']:>8.2f}" for way in WAYS)
            print(f"{n_ctx:>8,} {row['messages']:>9,} {width:>8} {times} {row['heat_to_plain']:>12.2f}")
    worst = {f"worst_{way}_cpu_ms": max(row[f"{way}_cpu_ms"] for row in rows) for way in WAYS}
    print(json.dumps({"benchmark": "draw_map", "limit_ms": LIMIT_MS, **worst, "rows": rows}))


if __name__ == "__main__":
    asyncio.run(main())
