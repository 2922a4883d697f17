"""Going on with a conversation: the saved cache put back, against processing it again, for a full window.

Usage: python -m benchmarks.restore [MODEL] [--ctx N ...] [--rounds N] [--threads N]

One message fills the window but for the room of a short reply; the cache is saved as the program saves it when it ends.
Then the same conversation is opened again and again, in turn with the saved file and without it, as `--resume` does.
Times are the engine's own (`Opened.ms`) and the best round counts: noise only adds. Beside them stands the processor
time of the engine's process, which other programs on the machine change little; with one thread the two are the same on
a quiet machine. The file was just written, so it is read from memory and not from the disk.
"""

import argparse
import asyncio
from dataclasses import dataclass
from pathlib import Path

import psutil

from benchmarks.shared import private_home, show
from chatapp import models
from chatapp.headless import Headless
from chatapp.protocol.commands import Forecast, Open, Save, Send
from chatapp.protocol.events import Foreseen, Opened, Saved, Snapshot, Text, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, Message, Sampling
from tests.support.engine.process import english

REPLY_TOK = 16


@dataclass(frozen=True)
class Took:
    """What the engine said of an opening, and the processor time that it took."""

    opened: Opened
    cpu_ms: float


async def measure(path: Path, home: Path, n_ctx: int, rounds: int, threads: int | None) -> dict[str, float | int]:
    """Milliseconds of both ways, and what they brought back."""
    async with Headless(home / "engine.log") as engine:
        (process,) = psutil.Process().children()
        cache = CacheSettings(n_ctx=n_ctx, live_branches=1)
        loaded = await engine.load(path, cache, EngineSettings(threads=threads))
        text, used, reply = await _filling(engine, loaded.n_ctx)
        messages = [Message(turn=1, role="user", text=text), Message(turn=1, role="assistant", text=reply)]
        state = str(home / "state")
        engine.post(Save(path=state))
        saved = await engine.until(Saved)

        async def opened(file: str | None) -> Took:
            engine.post(Open(system=None, messages=[]))  # so that nothing of the conversation is left to use again
            await engine.until(Opened)
            before = process.cpu_times()
            engine.post(Open(system=None, messages=messages, state=file))
            event = await engine.until(Opened)
            after = process.cpu_times()
            return Took(event, (after.user + after.system - before.user - before.system) * 1000)

        both = [(await opened(None), await opened(state)) for _ in range(rounds)]
    for prefill, restore in both:
        assert (restore.opened.restored_tokens, restore.opened.processed_tokens) == (used, 0)
        # As text the reply may come to fewer tokens than the model made it of.
        assert 0 <= used - prefill.opened.processed_tokens <= REPLY_TOK
    prefill_ms, restore_ms = (min(way.opened.ms for way in ways) for ways in zip(*both, strict=True))
    prefill_cpu_ms, restore_cpu_ms = (min(way.cpu_ms for way in ways) for ways in zip(*both, strict=True))
    return {
        "n_ctx": loaded.n_ctx,
        "tokens": used,
        "file_mb": saved.size_bytes / 1e6,
        "save_ms": saved.ms,
        "prefill_ms": prefill_ms,
        "restore_ms": restore_ms,
        "times_faster": prefill_ms / restore_ms,
        "prefill_cpu_ms": prefill_cpu_ms,
        "restore_cpu_ms": restore_cpu_ms,
        "cpu_times_less": prefill_cpu_ms / restore_cpu_ms,
    }


async def _filling(engine: Headless, n_ctx: int) -> tuple[str, int, str]:
    """Send a message that fills the window and evicts nothing: its text, the cells in use then, the reply."""
    words = english(n_ctx).split()
    low, high = 1, len(words)
    engine.post(Open(system=None, messages=[]))
    await engine.until(Opened)
    while low < high:  # the most words that fit
        middle = (low + high + 1) // 2
        engine.post(Forecast(id=middle, text=" ".join(words[:middle])))
        fits = (await engine.until(Foreseen)).tokens <= n_ctx - REPLY_TOK
        low, high = (middle, high) if fits else (low, middle - 1)
    text = " ".join(words[:low])
    engine.post(Send(turn=1, text=text, sampling=Sampling(seed=1, max_tokens=REPLY_TOK)))
    reply, used = "", 0
    async for event in engine.stream(TurnDone):
        if isinstance(event, Text):
            reply += event.text
        if isinstance(event, Snapshot):
            used = event.n_used
            assert event.evicted_tokens == 0
    return text, used, reply


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--ctx", type=int, nargs="+", default=[4096], help="windows in tokens (4096)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, help="llama.cpp's threads (all cores)")
    args = parser.parse_args()
    path = models.resolve(args.model)
    with private_home() as home:
        show([asyncio.run(measure(path, home, n_ctx, args.rounds, args.threads)) for n_ctx in args.ctx], "restore")


if __name__ == "__main__":
    main()
