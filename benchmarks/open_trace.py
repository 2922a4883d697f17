"""How soon a long trace is open: read, painted by `swachat replay`, gone to and fro in, and written as a page.

Usage: python -m benchmarks.open_trace [--tokens N] [--window N] [--rounds N] [--keep FILE]

The trace is a conversation of the scripted engine with as many tokens of replies, in the form and the density of a
real one at 60 tokens a second: a Text for each token, ten snapshots a second, a look of the probe in one token of
sixteen. `read_s` is the index and the timeline, `paint_s` from the start of the program in a terminal to the first
frame with the figures of the trace, `processor_s` what of that was the program's own work; `jump_ms` the longest of 20
jumps to places anywhere, for the story and the events that an inspector is told; `page_s` all of `swachat inspect`, in
a process of its own. The best of the rounds, warm.
"""

import argparse
import asyncio
import math
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pexpect
import psutil

from benchmarks.shared import private_home, show
from chatapp.presentation.transcript_at import TranscriptAt
from chatapp.protocol.commands import Load, Open, Send
from chatapp.protocol.events import Loaded, Probed, Snapshot, Started, Text, TurnDone
from chatapp.protocol.values import (
    CacheRequest,
    EngineSettings,
    LayerSight,
    Sampling,
    Sight,
    TopCell,
)
from chatapp.replay.index import Index
from chatapp.replay.lines import AnyLine
from chatapp.replay.record import RecordedEngine, Recorder
from chatapp.replay.timeline import Timeline
from tests.support.fake_engine.engine import EPOCH_S, FakeEngine
from tests.support.fake_engine.script import Script

REPLY_TOK = 180
SNAPSHOT_EVERY_TOK = 6
PROBE_EVERY_TOK = 16
N_LAYER, N_HEAD = 30, 9
JUMPS = 20


class RealisticRecorder(Recorder):
    """Leaves out the snapshots that a real engine would not send, and adds what the probe would."""

    def __init__(self, path: Path) -> None:
        self._tokens = 0
        self._newest: Snapshot | None = None
        super().__init__(path.open("wb", buffering=1 << 20), lambda: EPOCH_S)  # type: ignore[arg-type]

    def write(self, line: AnyLine) -> None:
        """Write it, or not."""
        match line:
            case Text():
                self._tokens += 1
                super().write(line)
                if self._tokens % PROBE_EVERY_TOK == 0 and self._newest is not None:
                    super().write(probed(self._newest, line.at_s, line.turn))
            case Snapshot():
                self._newest = line
                if self._tokens % SNAPSHOT_EVERY_TOK == 0:
                    super().write(line)
            case _:
                super().write(line)


def probed(snapshot: Snapshot, at_s: float, turn: int | None) -> Probed:
    """A look of the size that one at SmolLM2 has."""
    n_run, n_used = len(snapshot.runs), snapshot.n_used
    heat_tok = max(1, math.ceil(n_used / 512))
    sight = Sight(
        kind="global",
        n_cells=snapshot.n_ctx,
        n_visible=n_used,
        placed=[(0, 0, n_used)],
        shares=[round(1 / max(1, n_run), 6)] * n_run,
        heat=bytes(math.ceil(n_used / heat_tok)),
        heat_tok=heat_tok,
        top=[TopCell(cell=cell, pos=cell, share=0.01) for cell in range(8)],
    )
    layers = [
        LayerSight(
            layer=layer,
            kind="global",
            kept=bytes(N_HEAD),
            learned=b"",
            runs=bytes(n_run),
            norm=12.5,
            experts=[],
            expert_weights=[],
        )
        for layer in range(N_LAYER)
    ]
    return Probed(
        at_s=at_s, turn=turn, pos=n_used, runs=snapshot.runs, sink_share=0.3, sights=[sight], layers=layers,
        mismatch=None, ms=4.0,
    )  # fmt: skip


async def write_trace(path: Path, n_tok: int, n_ctx: int) -> None:
    """A conversation with so many tokens of replies."""
    reply = " ".join(f"word{number}" for number in range(REPLY_TOK))
    engine = RecordedEngine(FakeEngine(Script(n_ctx=n_ctx, replies=(reply,))), RealisticRecorder(path))
    turns = count(1)
    await engine.start()
    async for event in engine.events():
        match event:
            case Started():
                engine.post(Load(path="/models/starter.gguf", cache=CacheRequest(), engine=EngineSettings()))
            case Loaded():
                engine.post(Open(system="You help.", messages=[]))
                engine.post(Send(turn=next(turns), text="Tell me more. " * 10, sampling=Sampling()))
            case TurnDone(turn=turn) if turn is not None and turn * REPLY_TOK >= n_tok:
                break
            case TurnDone():
                engine.post(Send(turn=next(turns), text="Tell me more. " * 10, sampling=Sampling()))
            case _:
                pass
    await engine.stop()


def timed(work: Callable[[], object]) -> float:
    """Seconds that it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def read(path: Path) -> None:
    """What is done before the first frame."""
    with Index(path) as index:
        Timeline(index)


def jump_ms(path: Path) -> float:
    """The longest of some jumps."""
    chance = random.Random(1)
    with Index(path) as index:
        timeline, story = Timeline(index), TranscriptAt(index)

        def jump(position: int) -> None:
            story.go_to(position)
            for entry in timeline.shown_at(position):
                index.entry(entry)

        return 1000 * max(timed(lambda: jump(chance.randrange(timeline.end))) for _ in range(JUMPS))


def paint(path: Path) -> tuple[float, float]:
    """Seconds from the start of the program to the first frame that knows the trace, at its end; those of work."""
    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    words = ["-m", "chatapp.cli", "replay", str(path), "--at", str(10**9)]
    began = time.perf_counter()
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable, words, env=environment, dimensions=(36, 120), timeout=60
    )
    child.expect("paused")
    painted = time.perf_counter() - began
    busy = psutil.Process(child.pid).cpu_times()
    child.send("q")
    child.expect(pexpect.EOF)
    return painted, busy.user + busy.system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000)
    parser.add_argument("--window", type=int, default=8192)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="write the trace here, and keep it")
    args = parser.parse_args()
    with private_home() as home:
        path = args.keep or home / "trace.jsonl"
        if not path.exists():
            asyncio.run(write_trace(path, args.tokens, args.window))
        page = home / "page.html"
        command = [sys.executable, "-m", "chatapp.cli", "inspect", str(path), "--html", str(page), "--force"]
        paints = [paint(path) for _ in range(args.rounds)]
        row = {
            "tokens": args.tokens,
            "window": args.window,
            "trace_mb": path.stat().st_size / 1e6,
            "read_s": min(timed(lambda: read(path)) for _ in range(args.rounds)),
            "paint_s": min(painted for painted, _ in paints),
            "processor_s": min(busy for _, busy in paints),
            "jump_ms": min(jump_ms(path) for _ in range(args.rounds)),
            "page_s": min(timed(lambda: subprocess.run(command, check=True)) for _ in range(args.rounds)),
            "page_mb": page.stat().st_size / 1e6,
        }
    show([row], "open_trace")


if __name__ == "__main__":
    main()
