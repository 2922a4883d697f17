"""The pictures of the documents: the real program on the starter model, as SVG.

Usage: python -m tools.pictures

Nothing is staged: the engine is the real one, the conversation is what the model says with a fixed seed, and the
window is small so that turns have left it.
"""

import asyncio
import os
import tempfile
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


async def main() -> None:
    """Talk, and take the pictures."""
    from chatapp.config import load_config
    from chatapp.ui.app import SwachatApp
    from chatapp.ui.chat import Phase
    from chatapp.ui.screens.chat import ChatScreen

    config = load_config({"cache.ctx": 512, "sampling.seed": 11, "sampling.max_tokens": 120})
    app = SwachatApp(config, model="starter")
    async with app.run_test(size=(120, 36)) as pilot:
        screen = app.screen
        assert isinstance(screen, ChatScreen)

        async def idle() -> None:
            for _ in range(PATIENCE_S * 10):
                await pilot.pause(0.1)
                if screen.chat is not None and screen.chat.phase is Phase.IDLE:
                    return
            raise TimeoutError("the engine did not become ready")

        await idle()
        for question in QUESTIONS:
            await pilot.press(*(("space" if letter == " " else letter) for letter in question))
            await pilot.press("enter")
            await pilot.pause(0.5)
            await idle()
        await pilot.pause(1)
        app.save_screenshot("chat.svg", str(PICTURES))
        await pilot.resize_terminal(80, 24)
        await pilot.pause(1)
        app.save_screenshot("narrow.svg", str(PICTURES))


if __name__ == "__main__":
    PICTURES.mkdir(parents=True, exist_ok=True)
    os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
    with tempfile.TemporaryDirectory() as home:
        for kind in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{kind}_HOME"] = home
        asyncio.run(main())
