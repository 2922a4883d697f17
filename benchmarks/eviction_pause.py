"""What an eviction costs the person who waits, against a rebuild of the same window.

Usage: python -m benchmarks.eviction_pause [MODEL] [--ctx N ...]

The window is filled by a text that streams through it, twice over. The pause of an eviction is the bookkeeping and what
the next decode takes longer than one without a rotation; a rebuild processes the whole window again.
"""

import argparse
import asyncio
import statistics
from pathlib import Path

from benchmarks.shared import private_home, show
from chatapp import models
from chatapp.headless import Headless
from chatapp.protocol.commands import Open, Send
from chatapp.protocol.events import Evicted, Opened, Prefilled, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, Message, Sampling

WORDS = "The sea was calm that morning, and the ship went on under a light wind from the west. "


async def measure(path: Path, home: Path, n_ctx: int) -> dict[str, float | int]:
    """Pause of an eviction and of a rebuild, in ms, for one window."""
    async with Headless(home / "engine.log") as engine:
        loaded = await engine.load(path, CacheSettings(n_ctx=n_ctx), EngineSettings())
        engine.post(Open(system=None, messages=[]))
        await engine.until(Opened)
        text = WORDS * (2 * n_ctx // 18)
        engine.post(Send(turn=1, text=text, sampling=Sampling(seed=1, max_tokens=8)))
        evictions: list[Evicted] = []
        chunks: list[float] = []
        before = 0.0
        async for event in engine.stream(TurnDone):
            if isinstance(event, Evicted):
                evictions.append(event)
            if isinstance(event, Prefilled):
                chunks.append(event.ms - before)
                before = event.ms
        with_rotation = {round(event.next_decode_ms, 3) for event in evictions}
        plain = [ms for ms in chunks if all(abs(ms - rotated) > 1 for rotated in with_rotation)] or chunks
        decode_ms = statistics.median(event.next_decode_ms for event in evictions)
        pause = statistics.median(event.ms for event in evictions) + max(0.0, decode_ms - statistics.median(plain))
        history = [
            Message(turn=turn, role=role, text=WORDS * 4)
            for turn in range(1, n_ctx // 160)
            for role in ("user", "assistant")
        ]
        engine.post(Open(system=None, messages=history))
        rebuilt = await engine.until(Opened)
    return {
        "n_ctx": loaded.n_ctx,
        "evictions": len(evictions),
        "eviction_ms": pause,
        "rebuild_ms": rebuilt.ms,
        "rebuilt_tok": rebuilt.processed_tokens,
        "times_faster": rebuilt.ms / max(pause, 0.01),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--ctx", type=int, nargs="+", default=[512, 2048, 4096])
    args = parser.parse_args()
    path = models.resolve(args.model)
    with private_home() as home:
        show([asyncio.run(measure(path, home, n_ctx)) for n_ctx in args.ctx], "eviction_pause")


if __name__ == "__main__":
    main()
