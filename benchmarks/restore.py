"""Going on with a conversation: the saved cache put back, against processing it again, for a full window.

Usage: python -m benchmarks.restore [MODEL] [--ctx N] [--rounds N]

One message fills the window but for the room of a short reply; the cache is saved as the program saves it when it ends.
Then the same conversation is opened again and again, in turn with the saved file and without it, as `--resume` does.
Both figures are the engine's own (`Opened.ms`) and the best round counts: noise only adds. The file was just written,
so it is read from memory and not from the disk.
"""

import argparse
import asyncio
from pathlib import Path

from benchmarks.shared import private_home, show
from chatapp import models
from chatapp.engine.protocol import (
    CacheSettings,
    EngineSettings,
    Forecast,
    Foreseen,
    Message,
    Open,
    Opened,
    Sampling,
    Save,
    Saved,
    Send,
    Snapshot,
    Text,
    TurnDone,
)
from chatapp.headless import Headless
from tests.engine.support import english

REPLY_TOK = 16


async def measure(path: Path, home: Path, n_ctx: int, rounds: int) -> dict[str, float | int]:
    """Milliseconds of both ways, and what they brought back."""
    async with Headless(home / "engine.log") as engine:
        loaded = await engine.load(path, CacheSettings(n_ctx=n_ctx, live_branches=1), EngineSettings())
        text, used, reply = await _filling(engine, loaded.n_ctx)
        messages = [Message(turn=1, role="user", text=text), Message(turn=1, role="assistant", text=reply)]
        state = str(home / "state")
        engine.post(Save(path=state))
        saved = await engine.until(Saved)
        prefill: list[Opened] = []
        restore: list[Opened] = []
        for _ in range(rounds):
            for file, results in ((state, restore), (None, prefill)):
                engine.post(Open(system=None, messages=[]))  # so that nothing of the conversation is left to use again
                await engine.until(Opened)
                engine.post(Open(system=None, messages=messages, state=file))
                results.append(await engine.until(Opened))
    assert all((opened.restored_tokens, opened.processed_tokens) == (used, 0) for opened in restore)
    # As text the reply may come to fewer tokens than the model made it of.
    assert all(0 <= used - opened.processed_tokens <= REPLY_TOK for opened in prefill)
    prefill_ms, restore_ms = (min(opened.ms for opened in results) for results in (prefill, restore))
    return {
        "n_ctx": loaded.n_ctx,
        "tokens": used,
        "file_mb": saved.size_bytes / 1e6,
        "save_ms": saved.ms,
        "prefill_ms": prefill_ms,
        "restore_ms": restore_ms,
        "times_faster": prefill_ms / restore_ms,
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
    args = parser.parse_args()
    path = models.resolve(args.model)
    with private_home() as home:
        show([asyncio.run(measure(path, home, n_ctx, args.rounds)) for n_ctx in args.ctx], "restore")


if __name__ == "__main__":
    main()
