"""The forecast: in the prompt's border and in the inspector's panel, for the draft that stands there and no other."""

from pathlib import Path

import msgspec
import pytest

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Forecast
from chatapp.protocol.events import Foreseen, TurnStarted
from chatapp.ui.widgets.inspector.forecast import ForecastPanel
from chatapp.ui.widgets.inspector.section import Section
from chatapp.ui.widgets.prompt import Prompt, PromptBox
from tests.support.fake_engine.script import Script
from tests.support.presentation.inspector_events import NOON_S, loaded, past_the_window
from tests.support.ui.chat_app import Bench, chat_screen, draft, ready, say, until
from tests.support.ui.inspector_app import InspectorApp, text_of

FORESEEN = Foreseen(at_s=NOON_S, id=1, tokens=60, free=100, leaving=[], partly=False, seconds=0.074)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def rows(*events: AnyEvent) -> list[str]:
    """The panel's lines after these, and its title."""
    app = InspectorApp([loaded(), past_the_window(), *events])
    async with app.run_test(size=(60, 90)) as pilot:
        await pilot.pause()
        panel = app.query_one(ForecastPanel)
        lines = [*text_of(panel).splitlines(), text_of(panel.query_ancestor(Section).title)]
        return [" ".join(line.split()) for line in lines]


@pytest.mark.parametrize(
    ("foreseen", "lines"),
    [
        (FORESEEN, ["draft 60 tokens", "cells 100 free, leaves 40 free", "evicts nothing", "takes 74 ms to prefill"]),
        (
            msgspec.structs.replace(FORESEEN, tokens=312, leaving=[4, 5], seconds=None),
            ["draft 312 tokens", "cells 100 free, 212 short", "evicts turns 4–5", "takes —"],
        ),
        (
            msgspec.structs.replace(
                FORESEEN, tokens=900, leaving=[4], partly=True, partial_turn=9, reprocessed=1204, seconds=9.0
            ),
            [
                "draft 900 tokens",
                "cells 100 free, 800 short",
                "evicts turn 4 and the beginning of the draft",
                "rebuild 1,204 kept tokens",
                "takes 9 s to prefill",
            ],
        ),
    ],
)
async def test_the_panel_says_what_sending_would_do(foreseen: Foreseen, lines: list[str]) -> None:
    assert (await rows(foreseen))[:-1] == lines


async def test_the_title_tells_it_when_the_panel_is_folded() -> None:
    assert (await rows(msgspec.structs.replace(FORESEEN, tokens=312, leaving=[4])))[-1] == (
        "▾ Forecast 312 tokens · evicts turn 4"
    )


async def test_a_draft_that_was_sent_is_no_forecast_any_more() -> None:
    events = [FORESEEN, TurnStarted(at_s=NOON_S, turn=9, prompt_tokens=60, reused_tokens=412)]
    assert (await rows(*events))[0] == "draft none"


async def test_under_dense_nothing_leaves() -> None:
    """What does not fit there ends the reply, and no turn is lost."""
    dense = msgspec.structs.replace(loaded(), policy="dense")
    assert "evicts nothing (dense): the draft does not fit" in await rows(
        dense, msgspec.structs.replace(FORESEEN, tokens=900, partly=True)
    )


# --------------------------------------------------------------------------- in the whole program


def border(pilot_screen: Prompt) -> str:
    """What the prompt's lower border says."""
    return str(pilot_screen.border_subtitle)


async def test_the_draft_that_stands_there_is_foreseen_and_an_empty_one_is_not(bench: Bench) -> None:
    app = bench.app()
    async with app.run_test(size=(140, 60)) as pilot:
        await ready(pilot)
        screen = chat_screen(pilot)
        panel, prompt = screen.query_one(ForecastPanel), screen.query_one(Prompt)
        prompt.insert("one two three")
        await until(pilot, lambda: "9 tokens" in text_of(panel))
        assert border(prompt) == "9 tokens: leaves 503 free"
        prompt.clear()
        await until(pilot, lambda: "none" in text_of(panel))
        assert border(prompt) == ""


async def test_a_draft_that_was_begun_during_a_reply_is_foreseen_when_it_ends(bench: Bench) -> None:
    """The cache is another one then: the person need not touch the draft to be told."""
    bench.scripts = [Script(replies=("one two three four",), hold_after=2)]
    app = bench.app()
    async with app.run_test(size=(140, 60)) as pilot:
        await ready(pilot)
        await say(pilot, "go on")
        await until(pilot, lambda: bool(bench.engines) and chat_screen(pilot).chat is not None)
        chat_screen(pilot).query_one(Prompt).insert("and then this")
        await pilot.pause(0.4)
        assert bench.of(Forecast) == []
        bench.engines[0].release()
        await ready(pilot)
        await until(pilot, lambda: len(bench.of(Forecast)) > 0)
        assert bench.of(Forecast)[0].text == draft(pilot) == "and then this"
        await until(pilot, lambda: " leaves " in border(chat_screen(pilot).query_one(PromptBox).prompt))
