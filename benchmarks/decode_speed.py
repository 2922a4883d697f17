"""Decode speed of the chat against a plain llama.cpp loop: raw, headless, and in the terminal with its inspector.

Usage: python -m benchmarks.decode_speed [MODEL] [--tokens N] [--rounds N]

Rounds are interleaved, so that a busy machine hurts all three alike; the best round of each counts. The raw loop is
llama_sampler_sample and llama_decode on the C API, with the same sampler chain.
"""

import argparse
import asyncio
import os
import sys
import threading
import time
from functools import partial
from pathlib import Path

import pexpect

from benchmarks.shared import PROMPT, private_home, show
from chatapp import models
from chatapp.engine.native import llama
from chatapp.engine.native.sampler import Sampler
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.headless import Headless
from chatapp.protocol.commands import Open, Send
from chatapp.protocol.events import Opened, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, Sampling

CACHE = CacheSettings(n_ctx=4096)
DEADLINE_S = 300


def sampling(tokens: int) -> Sampling:
    """The same everywhere; greedy text would end or circle at once."""
    return Sampling(seed=7, max_tokens=tokens)


class Raw:
    """The plain loop, in this process."""

    def __init__(self, path: Path) -> None:
        llama.init()
        self.model = llama.Model(path)
        self.context = llama.Context(self.model, CACHE, EngineSettings())
        template = ChatTemplate(
            SandboxedTemplate(self.model.chat_template() or ""),
            tokenize=lambda text, special: self.model.tokenize(text, special=special),
            spell=partial(self.model.piece, special=True),
            spellings=self.model.control_spellings(),
        )
        prompt = template.prompt(None, PROMPT, first=True, begun=False)
        self.prompt = prompt.preamble + prompt.user + prompt.reply_opening

    def run(self, tokens: int) -> float:
        """Tokens a second."""
        self.context.clear()
        self.context.decode(self.prompt, 0)
        sampler = Sampler(self.model, sampling(tokens), 7)
        times: list[float] = []
        for position in range(len(self.prompt), len(self.prompt) + tokens):
            token = sampler.sample(self.context)
            if self.model.is_end(token):
                break
            times.append(time.perf_counter())
            self.context.decode([token], position)
        sampler.close()
        return (len(times) - 1) / (times[-1] - times[0])


async def headless(path: Path, home: Path, tokens: int) -> float:
    """Tokens a second through the engine process and its pipe."""
    async with Headless(home / "engine.log") as engine:
        await engine.load(path, CACHE, EngineSettings())
        engine.post(Open(system=None, messages=[]))
        await engine.until(Opened)
        engine.post(Send(turn=1, text=PROMPT, sampling=sampling(tokens)))
        done = await engine.until(TurnDone)
    assert done.stats.decode_tok_s is not None
    return done.stats.decode_tok_s


def terminal(path: Path, tokens: int) -> float:
    """Tokens a second of the real program in a terminal of 120 x 36, its inspector open."""
    from chatapp.paths import store_file
    from chatapp.store import Store

    environment = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    words = ["-m", "chatapp.cli", str(path), "--ctx", "4096", "--seed", "7", "--max-tokens", str(tokens)]
    child: pexpect.spawn[bytes] = pexpect.spawn(
        sys.executable, words, env=environment, dimensions=(36, 120), timeout=DEADLINE_S
    )
    child.expect("ready")
    drain = threading.Thread(target=lambda: child.expect(pexpect.EOF), daemon=True)
    drain.start()
    child.send(PROMPT)
    time.sleep(1)
    child.send("\r")
    deadline = time.monotonic() + DEADLINE_S
    speed: float | None = None
    while speed is None and time.monotonic() < deadline:
        time.sleep(2)  # seldom: looking costs the machine under test
        with Store.open(store_file()) as store:
            last = store.last_session()
            stats = [message.stats for message in store.path(last.id) if message.stats] if last else []
            speed = stats[-1]["decode_tok_s"] if stats else None
            if speed is not None and last is not None:
                store.delete_session(last.id)
    child.send("\x11")
    drain.join(10)
    assert speed is not None, "the reply did not end in time"
    return speed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--tokens", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    path = models.resolve(args.model)
    raw = Raw(path)
    best: dict[str, float] = {"raw loop": 0.0, "headless": 0.0, "terminal": 0.0}
    with private_home() as home:
        for _ in range(args.rounds):
            best["raw loop"] = max(best["raw loop"], raw.run(args.tokens))
            best["headless"] = max(best["headless"], asyncio.run(headless(path, home, args.tokens)))
            best["terminal"] = max(best["terminal"], terminal(path, args.tokens))
    show(
        [{"way": way, "tok_s": speed, "of_raw": speed / best["raw loop"]} for way, speed in best.items()],
        "decode_speed",
    )


if __name__ == "__main__":
    main()
