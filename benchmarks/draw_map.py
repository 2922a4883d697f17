"""How long one drawing of the whole cache map takes, from event to finished lines, for windows up to 131,072 cells.

- plain: a fifth of the window has left since the drawing before, so that every row is another one;
- heat: the same, with the heat of the newest look on top;
- token: one token has come since, with the heat: the drawing of nearly every frame of a reply;
- by cell: a look has come, and its cells are drawn by their numbers, with the heat: pieces of 64 tokens in any order. A
  look of a large cache is sorted out in a turn of its own, keys come in between, and the dearer one of both counts.

A terminal that is redrawn 60 times a second has 16 ms for everything. CPU time, the median of the drawings, and ratios
of one run. Prints a table, then one JSON line: `python -m benchmarks.draw_map [--repeat N]`.
"""

import argparse
import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle

import msgspec
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.widget import Widget

from chatapp import garbage
from chatapp.presentation.observed import Observed
from chatapp.protocol.events import Probed, Snapshot
from chatapp.protocol.values import CellRun, Ghost, Sight
from chatapp.ui.widgets.inspector.cache_map import MAP_ROWS, CacheMap

LIMIT_MS = 16.0
WINDOWS = (512, 4096, 32_768, 131_072)
SIZES = ((34, 8), (58, 8), (118, 20))
"""Columns, and rows at most: beside the chat as it is at first and at its widest in 120 columns, and zoomed there."""
SCREEN_ROWS = 36
MOST_HEAT_BYTES = 4096
"""Of the engine's looks: see chatapp.engine.probe.report."""
WAYS = ("plain", "heat", "token", "by_cell")
PIECE_TOK = 64
"""Neighbouring tokens that lie in neighbouring cells."""


PLAIN, HEAT, BY_CELL = (
    {"order": order, "heat": heat} for order, heat in (("position", "off"), ("position", "on"), ("cell", "on"))
)
"""Ways in which the map is looked at."""


class MapApp(App[None]):
    """A screen with nothing but the map."""

    def compose(self) -> ComposeResult:
        """The map."""
        yield CacheMap()


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


def after_eviction(snapshot: Snapshot) -> Snapshot:
    """A fifth of its messages have left, those behind have moved down, and new ones have come."""
    sinks, *runs = snapshot.runs
    gone, kept = runs[: len(runs) // 5], runs[len(runs) // 5 :]
    moved = sum(run.n for run in gone)
    new = [msgspec.structs.replace(run, turn=run.turn + 100_000, pos=run.pos + snapshot.n_ctx - moved) for run in gone]
    kept = [msgspec.structs.replace(run, pos=run.pos - moved) for run in kept]
    return msgspec.structs.replace(snapshot, runs=[sinks, *kept, *new])


def before_the_last_token(snapshot: Snapshot) -> Snapshot:
    """As it was one token ago."""
    *runs, last = snapshot.runs
    return msgspec.structs.replace(snapshot, runs=[*runs, msgspec.structs.replace(last, n=last.n - 1)])


def look_at(snapshot: Snapshot, seed: int) -> Probed:
    """A look at the newest token of a full window, whose pieces of 64 tokens lie in any order."""
    draw = random.Random(seed)
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


@dataclass(frozen=True)
class Way:
    """What is measured: the map looked at in one way, and the events that come, one before each drawing."""

    view: Mapping[str, str]
    events: Iterator[Snapshot | Probed]


def ways(snapshot: Snapshot) -> dict[str, Way]:
    """By its name in WAYS. Each event makes another picture than the one before."""
    evicted = (snapshot, after_eviction(snapshot))
    return {
        "plain": Way(PLAIN, cycle(evicted)),
        "heat": Way(HEAT, cycle(evicted)),
        "token": Way(HEAT, cycle([before_the_last_token(snapshot), snapshot])),
        "by_cell": Way(BY_CELL, cycle([look_at(snapshot, seed) for seed in range(2)])),
    }


def drawn(cache_map: CacheMap, observed: Observed, event: Snapshot | Probed) -> tuple[float, float]:
    """Take the event, and draw every line of the map: seconds by the clock and of CPU time."""
    steps: list[tuple[float, float]] = []
    for step in (take, draw):
        began, cpu_began = time.perf_counter(), time.thread_time()
        step(cache_map, observed, event)
        steps.append((time.perf_counter() - began, time.thread_time() - cpu_began))
    return max(took for took, _ in steps), max(cpu for _, cpu in steps)


def take(cache_map: CacheMap, observed: Observed, event: Snapshot | Probed) -> None:
    """As the inspector does before it draws."""
    observed.apply(event)
    cache_map.sort_out(observed)


def draw(cache_map: CacheMap, observed: Observed, _event: Snapshot | Probed) -> None:
    """As the inspector and the screen do."""
    cache_map.look(observed)
    for part in cache_map.walk_children(Widget):
        part.render_lines(Region(0, 0, part.size.width, part.size.height))


async def measure(n_ctx: int, width: int, rows: int, repeat: int) -> dict[str, float]:
    """Milliseconds of `repeat` drawings of each kind in turn: CPU time, which a busy machine changes little, and the
    slowest by the clock.
    """
    snapshot = full_window(n_ctx, longest=120)
    took_ms: list[float] = []
    cpu_ms: dict[str, list[float]] = {way: [] for way in WAYS}
    app, observed, measured = MapApp(), Observed(), ways(snapshot)
    observed.apply(look_at(snapshot, 0))
    observed.apply(snapshot)
    async with app.run_test(size=(width, SCREEN_ROWS)) as pilot:
        cache_map = app.query_one(CacheMap)
        if rows > MAP_ROWS:
            cache_map.add_class("-maximized")  # as the section around it has when it is zoomed
        garbage.settle()  # as the chat does when the model is there
        for _ in range(repeat):
            for name in WAYS:
                way = measured[name]
                cache_map.use_view(way.view)
                drawn(cache_map, observed, next(way.events))
                await pilot.pause()
                took_s, cpu_s = drawn(cache_map, observed, next(way.events))
                took_ms.append(took_s * 1000)
                cpu_ms[name].append(cpu_s * 1000)
                await pilot.pause()
        drawn_rows = cache_map.query_one("#global").size.height
    medians = {way: statistics.median(times) for way, times in cpu_ms.items()}
    return {
        "n_ctx": n_ctx,
        "width": width,
        "rows": drawn_rows,
        "messages": len(snapshot.runs),
        **{f"{way}_cpu_ms": medians[way] for way in WAYS},
        **{f"{way}_to_plain": medians[way] / medians["plain"] for way in WAYS if way != "plain"},
        "slowest_ms": max(took_ms),
    }


async def main() -> None:
    """Measure every window at every width."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=50, help="drawings for each line of the table")
    repeat: int = parser.parse_args().repeat
    print("CPU milliseconds of a drawing")
    names = " ".join(f"{way.replace('_', ' '):>8}" for way in WAYS)
    print(f"{'cells':>8} {'messages':>9} {'columns':>8} {names}   to plain: heat, token, by cell")
    rows: list[dict[str, float]] = []
    for n_ctx in WINDOWS:
        for width, height in SIZES:
            row = await measure(n_ctx, width, height, repeat)
            rows.append(row)
            times = " ".join(f"{row[f'{way}_cpu_ms']:>8.2f}" for way in WAYS)
            ratios = " ".join(f"{row[f'{way}_to_plain']:>8.2f}" for way in WAYS[1:])
            size = f"{width} x {row['rows']}"
            print(f"{n_ctx:>8,} {row['messages']:>9,} {size:>8} {times}  {ratios}")
    worst = {f"worst_{way}_cpu_ms": max(row[f"{way}_cpu_ms"] for row in rows) for way in WAYS}
    print(json.dumps({"benchmark": "draw_map", "limit_ms": LIMIT_MS, **worst, "rows": rows}))


if __name__ == "__main__":
    asyncio.run(main())
