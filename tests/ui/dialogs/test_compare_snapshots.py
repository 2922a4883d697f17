"""What a person sees of a comparison, at both sizes, in colour and without: half way, and when both are measured."""

import math
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import pytest
from msgspec import structs
from textual.pilot import Pilot

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Load
from chatapp.protocol.events import Loaded, Measured
from chatapp.ui.widgets.prompt import Prompt
from tests.compare.test_compare import scored
from tests.support.ui.chat_app import Bench, chat_screen, ready, say, until
from tests.ui.dialogs.test_compare import Scoring, compare_with, written

Compare = Callable[..., bool]
SIZES = [(80, 24), (120, 36)]
KEPT = [24.1, 21.7, 26.4, 23.0, 22.2, 25.3, 24.6, 21.1, 23.9, 22.8, 24.4, 21.9]
"""Perplexities of twelve parts of a text, as sinks keep them; and as they are once the first tokens have left."""
LOST = [24.1, 38.9, 61.2, 55.0, 48.7, 73.5, 66.1, 52.4, 58.8, 80.2, 63.7, 57.3]


class Real(Scoring):
    """An engine whose figures fit each other and what it was asked for."""

    def __init__(self, curve: Sequence[float], *, tok_s: float, hangs: bool = False) -> None:
        super().__init__(list(curve), hangs=hangs)
        *_, end = self.answers
        assert isinstance(end, Measured)
        scores = [scored(512 * n, [math.log(value)] * 512, value) for n, value in enumerate(curve, 1)]
        self.answers = [*scores, structs.replace(end, tok_s=tok_s, evicted_tokens=5632, shifts=88)]

    async def events(self) -> AsyncIterator[AnyEvent]:
        """With the policy that was asked for, which keeps sinks or not."""
        async for event in super().events():
            match event:
                case Loaded():
                    yield structs.replace(event, policy=self._policy)
                case Measured() if self._policy == "window":
                    yield structs.replace(event, n_sink=0)
                case _:
                    yield event

    @property
    def _policy(self) -> str:
        asked = self.asked[0]
        assert isinstance(asked, Load)
        return asked.cache.policy


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    (tmp_path / "text.txt").write_text("Some words.")
    return Bench(tmp_path)


def compared(bench: Bench, b: Sequence[float], until_it_says: str) -> Callable[[Pilot[None]], object]:
    """Compare in an app of this bench; the second engine scores `b`, and hangs after its first part where that is not
    all of the text."""

    async def run(pilot: Pilot[None]) -> None:
        await ready(pilot)
        chat_screen(pilot).query_one(Prompt).cursor_blink = False
        compare_with(pilot, Real(KEPT, tok_s=141.0), Real(b, tok_s=147.0, hangs=len(b) < len(KEPT)))
        await say(pilot, f"/compare sinks:512:4 window:512 {bench.folder / 'text.txt'}")
        await until(pilot, lambda: until_it_says in written(pilot))
        await pilot.pause(0.1)

    return run


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
def test_both_are_measured(
    snap_compare: Compare, bench: Bench, size: tuple[int, int], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where they part, the figures side by side with their ratio, and both curves, A's flat below B's; on 24 lines the
    curves are reached by scrolling. Without colour the letters A, B and * tell the curves apart."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    assert snap_compare(bench.app(), terminal_size=size, run_before=compared(bench, LOST, "Both sides measured."))


@pytest.mark.parametrize("colour", [True, False], ids=["colour", "plain"])
@pytest.mark.parametrize("size", SIZES, ids=["80x24", "120x36"])
def test_the_second_is_being_measured(
    snap_compare: Compare, bench: Bench, size: tuple[int, int], colour: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How far B has come in A's tokens, A's figures with dashes beside them, and A's whole curve."""
    if not colour:
        monkeypatch.setenv("NO_COLOR", "1")
    run = compared(bench, LOST[:1], "Measuring B: 512 of 6,144 tokens")
    assert snap_compare(bench.app(), terminal_size=size, run_before=run)
