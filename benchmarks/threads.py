"""How well `engine.threads: auto` does beside other programs: its speed over the best fixed number's, in one run.

Usage: python -m benchmarks.threads [MODEL] [--seconds S] [--rounds N]

In each state of the machine (quiet, one busy neighbour, two, one that comes and goes every 4 seconds) each number and
auto reply for S seconds, one after the other, in rounds. `of_best` is auto's speed over that of the best number;
`slow_s` the longest time that auto stayed below half of it. Neighbours are programs that count, one thread each.
"""

import argparse
import asyncio
import subprocess
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean

from benchmarks.shared import PROMPT, private_home, show
from chatapp import models, processors
from chatapp.headless import Headless
from chatapp.protocol.commands import Cancel, Open, Send
from chatapp.protocol.events import Opened, Text, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, Sampling

COUNT = (sys.executable, "-c", "while True: pass")
STATES = {"quiet": 0, "one neighbour": 1, "two neighbours": 2, "come and go": -1}
PERIOD_S = 4.0
SETTLE_S = 2.0
"""Left out at the beginning of a reply in a steady state: what is asked is how it goes on."""
Pieces = list[tuple[float, int]]
"""When tokens came, in seconds since the message was sent, and how many."""


def _busy() -> subprocess.Popen[bytes]:
    return subprocess.Popen(COUNT)


@asynccontextmanager
async def neighbours(n: int) -> AsyncGenerator[None]:
    """`n` busy programs; -1 is one that comes and goes."""
    running: list[subprocess.Popen[bytes]] = []

    async def come_and_go() -> None:
        while True:
            await asyncio.sleep(PERIOD_S)
            running.append(_busy())
            await asyncio.sleep(PERIOD_S)
            running.pop().kill()

    task = asyncio.create_task(come_and_go()) if n < 0 else None
    running += [_busy() for _ in range(n)]
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
        for process in running:
            process.kill()


async def reply(path: Path, home: Path, threads: int | None, n: int, seconds: float) -> Pieces:
    """A reply beside `n` neighbours with so many threads, None for auto."""
    async with Headless(home / "engine.log") as engine:
        await engine.load(path, CacheSettings(n_ctx=4096), EngineSettings(threads=threads))
        engine.post(Open(system=None, messages=[]))
        await engine.until(Opened)
        pieces: Pieces = []
        async with neighbours(n):
            began = time.monotonic()
            turn = 0
            while time.monotonic() - began < seconds:
                turn += 1
                engine.post(Send(turn=turn, text=PROMPT, sampling=Sampling(seed=turn, max_tokens=4000)))
                async for event in engine.stream(TurnDone):
                    if isinstance(event, Text):
                        pieces.append((time.monotonic() - began, event.tokens))
                    if time.monotonic() - began > seconds:
                        engine.post(Cancel())
    return pieces


def speed(pieces: Pieces, after_s: float) -> float:
    """Tokens a second after the first `after_s`."""
    late = [(at, n) for at, n in pieces if at > after_s]
    return sum(n for _, n in late[1:]) / (late[-1][0] - late[0][0])


def slow_s(pieces: Pieces, best: float) -> float:
    """The longest time below half of the speed `best`, looked at in quarters of a second."""
    longest = stretch = 0.0
    for quarter in range(int(SETTLE_S * 4), int(pieces[-1][0] * 4)):
        n = sum(n for at, n in pieces if quarter / 4 <= at < (quarter + 1) / 4)
        stretch = stretch + 0.25 if n < best / 2 / 4 else 0.0
        longest = max(longest, stretch)
    return longest


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    path = models.resolve(args.model)
    ways: list[int | None] = [*range(1, processors.usable().most + 1), None]
    rows: list[dict[str, object]] = []
    with private_home() as home:
        for state, n in STATES.items():
            replies: dict[int | None, list[Pieces]] = {way: [] for way in ways}
            for _ in range(args.rounds):
                for way in ways:
                    replies[way].append(asyncio.run(reply(path, home, way, n, args.seconds)))
            after_s = 0.0 if n < 0 else SETTLE_S
            speeds = {way: mean(speed(pieces, after_s) for pieces in found) for way, found in replies.items()}
            best = max(value for way, value in speeds.items() if way is not None)
            rows.append(
                {
                    "state": state,
                    **{f"{way} threads": value for way, value in speeds.items() if way is not None},
                    "auto": speeds[None],
                    "of_best": speeds[None] / best,
                    "slow_s": max(slow_s(pieces, best) for pieces in replies[None]),
                }
            )
    show(rows, "threads")


if __name__ == "__main__":
    main()
