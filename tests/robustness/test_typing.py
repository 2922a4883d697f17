"""Random keys, clicks, drags and pastes never lose a letter that was typed as text, and end nothing."""

from pathlib import Path

from textual import events
from textual.pilot import Pilot

from chatapp.ui.screens.chat import ChatScreen
from chatapp.ui.widgets.prompt import Prompt
from tests.robustness.tries import Try, tries
from tests.support.ui.chat_app import Bench, chat_screen, draft, ready, say, shown, until

WALKS = 8
"""Dialogs take their time to open and to close: `make torture` makes more of them."""
TEXT = "hazel nuts are c p z r e g b j k a f h i y"
"""Every letter that acts on a panel or a message is in it."""
MOVES = ("tab", "shift+tab", "up", "down", "left", "pageup", "pagedown", "ctrl+home", "ctrl+end", "home", "end")
MODES = ("f8", "f9", "shift+f2")
DIALOGS = ("f1", "f4", "f6", "f7", "ctrl+p")
LEAVE = ("escape", "escape", "escape")


def keys_of(walk: Try) -> list[str]:
    """A walk through the screen that ends outside every mode and dialog, by Esc."""
    keys: list[str] = []
    for _ in range(walk.randrange(1, 6)):
        match walk.randrange(4):
            case 0:
                keys += [walk.choice(DIALOGS), *LEAVE]
            case 1:
                keys += [walk.choice(MODES), *walk.choices(MOVES, k=2), *LEAVE]
            case _:
                keys += walk.choices(MOVES, k=walk.randrange(1, 5))
    return keys


async def type_at_once(pilot: Pilot[None], keys: list[str]) -> None:
    """All of it in one read."""
    for key in keys:
        pilot.app.post_message(events.Key("space" if key == " " else key, key if len(key) == 1 else None))
    await pilot.pause(0)


async def use_mouse(pilot: Pilot[None], walk: Try) -> None:
    """A click or a drag somewhere above the prompt, where no link is."""
    start, end = [(walk.randrange(0, 119), walk.randrange(0, 30)) for _ in range(2)]
    await pilot.mouse_down(offset=start)
    if walk.random() < 0.5:
        await pilot.hover(offset=end)
        start = end
    await pilot.mouse_up(offset=start)


async def test_no_letter_is_lost(tmp_path: Path) -> None:
    """The text that is typed after a walk, in the same read, is what the prompt has then: all of it, nothing else."""
    bench = Bench(tmp_path)
    async with bench.app().run_test(size=(120, 36)) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        screen: ChatScreen = chat_screen(pilot)
        prompt = screen.query_one(Prompt)
        for walk in tries("typing", WALKS):
            prompt.load_text("")
            if walk.random() < 0.4:
                await use_mouse(pilot, walk)
            keys = keys_of(walk)
            text = "".join(walk.choices(TEXT, k=walk.randrange(3, 12))).strip() or "x"
            prompt.load_text("")
            # Up recalls a message: only what follows the last key of the walk is compared.
            await type_at_once(pilot, [*keys, "ctrl+end", *text])
            await until(pilot, lambda text=text: text in draft(pilot))
            assert pilot.app.screen is screen, f"{walk}: {keys}"
            assert pilot.app.focused is prompt, f"{walk}: {keys}"
            assert len(shown(pilot)) == 2, f"{walk}: {keys}"
