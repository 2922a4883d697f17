"""How long one drawing of the cache map takes, from snapshot to finished lines, for windows up to 131,072 cells.

A terminal that is redrawn 60 times a second has 16 ms for everything. Prints a table, then one JSON line:
`python benchmarks/draw_map.py [--repeat N]`.
"""

import argparse
import asyncio
import json
import random
import statistics
import time

from textual.app import App, ComposeResult
from textual.geometry import Region

from chatapp.engine.protocol import CellRun, Ghost, Snapshot
from chatapp.ui.cells import cells
from chatapp.ui.widgets.cache_map import MAP_ROWS
from chatapp.ui.widgets.cell_grid import CellGrid

LIMIT_MS = 16.0
WINDOWS = (512, 4096, 32_768, 131_072)
WIDTHS = (34, 48, 120)


class MapApp(App[None]):
    """A screen with nothing but the map."""

    def compose(self) -> ComposeResult:
        """The map."""
        yield CellGrid(cells, max_rows=MAP_ROWS)


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


async def measure(n_ctx: int, width: int, repeat: int) -> dict[str, float]:
    """Milliseconds of `repeat` drawings: CPU time, which a busy machine changes little, and time on the clock."""
    snapshot = full_window(n_ctx, longest=120)
    app = MapApp()
    took_ms: list[float] = []
    cpu_ms: list[float] = []
    async with app.run_test(size=(width, MAP_ROWS)) as pilot:
        grid = app.query_one(CellGrid)
        grid.show_snapshot(snapshot)
        await pilot.pause()
        lines = Region(0, 0, grid.size.width, grid.size.height)
        for _ in range(repeat):
            began, cpu_began = time.perf_counter(), time.thread_time()
            grid.show_snapshot(snapshot)
            grid.render_lines(lines)
            took_ms.append((time.perf_counter() - began) * 1000)
            cpu_ms.append((time.thread_time() - cpu_began) * 1000)
    return {
        "n_ctx": n_ctx,
        "width": width,
        "messages": len(snapshot.runs),
        "median_cpu_ms": statistics.median(cpu_ms),
        "median_ms": statistics.median(took_ms),
        "slowest_ms": max(took_ms),
    }


async def main() -> None:
    """Measure every window at every width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=50, help="drawings for each line of the table")
    repeat: int = parser.parse_args().repeat
    print(f"{'cells':>8} {'messages':>9} {'columns':>8} {'CPU ms':>8} {'median ms':>10} {'slowest ms':>11}")
    rows: list[dict[str, float]] = []
    for n_ctx in WINDOWS:
        for width in WIDTHS:
            row = await measure(n_ctx, width, repeat)
            rows.append(row)
            times = f"{row['median_cpu_ms']:>8.2f} {row['median_ms']:>10.2f} {row['slowest_ms']:>11.2f}"
            print(f"{n_ctx:>8,} {row['messages']:>9,} {width:>8} {times}")
    worst_ms = max(row["median_cpu_ms"] for row in rows)
    print(json.dumps({"benchmark": "draw_map", "limit_ms": LIMIT_MS, "worst_cpu_ms": worst_ms, "rows": rows}))


if __name__ == "__main__":
    asyncio.run(main())
