"""/compare: two windows side by side over the chat, measured while a person watches."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Load, Measure
from chatapp.ui.dialogs.compare import Comparison
from tests.compare.test_compare import Scripted, measured, scored
from tests.support.ui.chat_app import Bench, chat_screen, notices, ready, say, until
from tests.support.ui.inspector_app import text_of

A_CURVE, B_CURVE = [20.0, 16.0, 24.0], [20.0, 30.0, 90.0]


class Scoring(Scripted):
    """An engine that scores three parts of a text; `hangs` for ever after the first."""

    def __init__(self, curve: list[float], *, hangs: bool = False) -> None:
        parts = [scored(512 * (i + 1), [value / 10] * 512, value) for i, value in enumerate(curve)]
        super().__init__([*parts, measured(tokens=1536, evicted=1024)])
        self.hangs = hangs

    async def events(self) -> AsyncIterator[AnyEvent]:
        """As of a Scripted, or the beginning of it."""

        async for event in super().events():
            yield event
            if self.hangs and event is self.answers[0]:
                await asyncio.Event().wait()


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "text.txt").write_text("Some words.")
    return Bench(tmp_path)


def compare_with(pilot: Pilot[None], *engines: Scoring) -> None:
    """From now on these engines are started, one after the other."""
    waiting = list(engines)
    app = chat_screen(pilot).app
    app.services = replace(app.services, engine=lambda: waiting.pop(0))


def written(pilot: Pilot[None]) -> str:
    """What the screen says; a sentence may be broken anywhere."""
    return "\n".join(text_of(part) for part in pilot.app.screen.query(Static))


@pytest.mark.parametrize("size", [(120, 36), (80, 24)])
async def test_two_windows_side_by_side(bench: Bench, size: tuple[int, int]) -> None:
    """The table, both curves and where they part; each cache as it was asked for; Escape closes."""
    async with bench.app().run_test(size=size) as pilot:
        await ready(pilot)
        engines = Scoring(A_CURVE), Scoring(B_CURVE)
        compare_with(pilot, *engines)
        await say(pilot, f"/compare sinks:512:4 window:256 {bench.folder / 'text.txt'}")
        await until(pilot, lambda: "Both sides measured." in written(pilot))
        shown = written(pilot)
        assert "A sinks:512:4 vs. B window:256" in shown
        assert "They diverge at token 513." in shown
        assert "tokens 1,024 to 1,536: perplexity 24.0 (A) against 90.0 (B)" in " ".join(shown.split())
        assert any("B" in line and "┤" in line for line in shown.splitlines())
        loads = [next(command for command in engine.asked if isinstance(command, Load)) for engine in engines]
        assert [(load.cache.policy, load.cache.n_ctx) for load in loads] == [("sinks", 512), ("window", 256)]
        assert all(engine.ended for engine in engines)
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, Comparison)


async def test_escape_in_the_middle_ends_the_engine_and_leaves_the_chat_as_it_was(bench: Bench) -> None:
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        engine = Scoring(A_CURVE, hangs=True)
        compare_with(pilot, engine)
        await say(pilot, f"/compare sinks:512 window:512 {bench.folder / 'text.txt'}")
        await until(pilot, lambda: "Measuring A: 512 tokens" in written(pilot))
        await pilot.press("escape")
        await until(pilot, lambda: engine.ended)
        assert not isinstance(pilot.app.screen, Comparison)
        await say(pilot, "Hello")
        await ready(pilot)
        assert [row[1] for row in bench.stored()] == ["user", "assistant"]


async def test_without_words_the_conversation_is_the_text(bench: Bench) -> None:
    """The policy in force against a plain window of the same size."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Tell me of whales")
        await ready(pilot)
        engines = Scoring(A_CURVE), Scoring(B_CURVE)
        compare_with(pilot, *engines)
        await say(pilot, "/compare")
        await until(pilot, lambda: "Both sides measured." in written(pilot))
        request = engines[0].asked[1]
        assert isinstance(request, Measure)
        assert request.text.startswith("Tell me of whales\n\n")
        assert "B window:" in written(pilot)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", "This conversation is empty, so there is no text to compare on."),
        ("sink:512 window:512 x", "cannot be read"),
        ("sinks:512 window:512 'x", "cannot be read"),
        ("sinks:512 window:512 a b", "names more than one file"),
    ],
)
async def test_what_cannot_be_compared_is_told(bench: Bench, words: str, said: str) -> None:
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, f"/compare {words}".strip())
        await until(pilot, lambda: any(said in line for line in notices(pilot)))
