"""The pictures of the documents: the real program on real models, as SVG.

Usage: python -m tools.pictures [NAME ...]

Without names, all are taken. The conversation is the same for one and for all.
Nothing is staged: the engine is the real one, the conversation is what the model says with a fixed seed, and the
window is so small that turns have been evicted.
"""

import asyncio
import os
import sys
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

PICTURES = Path("docs/pictures")
QUESTIONS = (
    "What is the sea?",
    "Why is it salty?",
    "Name three animals that live in it.",
    "Write a short poem about a whale.",
    "How deep is the deepest place?",
    "Give me a list of five oceans or seas.",
    "Which of them is the largest?",
    "What did I ask you first?",
)
PATIENCE_S = 180


SHOTS = (
    ("chat", ()),
    ("inspector-heat", ("/heat",)),
    ("inspector-cells", ("/heat", "/physical")),
    ("inspector-sinks", ("/physical", "/zoom sinks")),
    ("inspector-ledger", ("/zoom ledger",)),
    ("inspector-memory", ("/zoom memory",)),
    ("inspector-speed", ("/zoom speed",)),
)
"""Names of pictures of the starter model, and the commands that lead from one to the next."""
SLIDING = (
    ("inspector-gemma", ("/zoom cache",)),
    ("inspector-reach", ("/zoom reach",)),
)
"""The same for a model with sliding windows."""
NARROW = "narrow"
"""After those of the starter model: the chat in 80 columns."""


async def take(
    model: str,
    shots: Sequence[tuple[str, Sequence[str]]],
    questions: Sequence[str],
    only: Collection[str],
    **cache: int,
) -> None:
    """Chat with a model, and take those of its pictures that are in `only`; does nothing if none is."""
    if not {NARROW if shots is SHOTS else "", *(name for name, _ in shots)} & set(only):
        return
    from chatapp.chat.controller import Phase
    from chatapp.config import load_config
    from chatapp.ui.app import SwachatApp
    from chatapp.ui.screens.chat import ChatScreen

    settings = {"sampling.seed": 11, "sampling.max_tokens": 120, "engine.probe_every": 16}
    app = SwachatApp(
        load_config({**settings, **{f"cache.{name}": value for name, value in cache.items()}}), model=model
    )
    async with app.run_test(size=(120, 36)) as pilot:
        screen = app.screen
        assert isinstance(screen, ChatScreen)

        async def idle() -> None:
            for _ in range(PATIENCE_S * 10):
                await pilot.pause(0.1)
                if screen.chat is not None and screen.chat.phase is Phase.IDLE:
                    return
            raise TimeoutError("the engine did not become ready")

        def save(name: str) -> None:
            if name in only:
                app.save_screenshot(f"{name}.svg", str(PICTURES))

        async def say(text: str) -> None:
            names = {" ": "space", "/": "slash"}
            await pilot.press(*(names.get(letter, letter) for letter in text), "enter")
            await pilot.pause(0.5)
            await idle()

        await idle()
        for question in questions:
            await say(question)
        for name, commands in shots:
            for command in commands:
                await say(command)
            await pilot.pause(1)
            save(name)
            if screen.maximized is not None:
                await pilot.press("f9")
                await pilot.pause(1)
        if shots is SHOTS:
            await pilot.resize_terminal(80, 24)
            await pilot.pause(1)
            save(NARROW)


async def main(names: Sequence[str]) -> None:
    """Take the pictures of these names; all if there are none."""
    known = [NARROW, *(name for name, _ in (*SHOTS, *SLIDING))]
    if unknown := set(names) - set(known):
        sys.exit(f"There is no picture {', '.join(sorted(unknown))}. Pictures: {', '.join(known)}.")
    only = names or known
    await take("starter", SHOTS, QUESTIONS, only, ctx=512)
    await take("gemma3-270m", SLIDING, QUESTIONS, only, ctx=1024, micro_batch=64)


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with tempfile.TemporaryDirectory() as home:
        for kind in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = home
        asyncio.run(main(sys.argv[1:]))
