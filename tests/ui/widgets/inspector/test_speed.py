"""The speed panel: rates, stages of the last turn, and the history with its evictions."""

from collections.abc import Sequence

import msgspec
import pytest

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import TurnDone
from chatapp.protocol.values import Stages
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.speed import SpeedPanel
from tests.support.presentation.inspector_events import NOON_S, done, loaded, past_the_window, snapshot
from tests.support.ui.inspector_app import InspectorApp, text_of

STAGES = Stages(template=2.1, prefill=412.0, sample=31.0, decode=1900.0, probe=0.0)


def turn(number: int, *, tok_s: float, evicted: int = 0, stages: Stages | None = STAGES) -> TurnDone:
    """A reply has ended."""
    end = done(number, reply=30, reused=400, at_s=NOON_S + number, decode_tok_s=tok_s)
    return msgspec.structs.replace(
        end, stats=msgspec.structs.replace(end.stats, evicted_tokens=evicted, stages=stages)
    )  # fmt: skip


async def rows(events: Sequence[AnyEvent], width: int = 42, drawn_ms: float | None = None) -> list[str]:
    """The panel's lines."""
    app = InspectorApp(events)
    async with app.run_test(size=(width, 90)) as pilot:
        if drawn_ms is not None:
            app.query_one(Inspector).show_drawn(drawn_ms)
        await pilot.pause()
        return text_of(app.query_one(SpeedPanel)).splitlines()


def words(lines: list[str]) -> list[str]:
    """The lines without their columns."""
    return [" ".join(line.split()) for line in lines]


async def test_the_stages_of_the_last_turn_stand_in_two_columns() -> None:
    """Nothing measured the interface here: a dash, no guess. A probe that never looked took nothing."""
    shown = words(await rows([loaded(), turn(1, tok_s=60.0), past_the_window()]))
    assert shown == [
        "prompt 812 tok/s",
        "reply 61.2 tok/s",
        "TTFT 420 ms",
        "template 2.1 ms prefill 412 ms",
        "sample 31 ms decode 1.9 s",
        "probe 0 ms draw —",
        "█ up to 60 tok/s",
    ]


async def test_what_the_interface_took_is_a_stage_too_until_the_next_turn() -> None:
    """It is told after the turn's end, and is not the next turn's."""
    events = [loaded(), turn(1, tok_s=60.0)]
    assert words(await rows(events, drawn_ms=87.0))[5] == "probe 0 ms draw 87 ms"
    app = InspectorApp(events)
    async with app.run_test(size=(42, 90)) as pilot:
        app.query_one(Inspector).show_drawn(87.0)
        app.feed(turn(2, tok_s=50.0))
        await pilot.pause()
        assert "draw     —" in text_of(app.query_one(SpeedPanel))


async def test_with_room_each_stage_has_a_bar_and_the_longest_is_the_longest() -> None:
    shown = await rows([loaded(), turn(1, tok_s=60.0)], 100, drawn_ms=87.0)
    bars = {line.split()[0]: line.count("█") for line in shown[3:9]}
    assert list(bars) == ["template", "prefill", "sample", "decode", "probe", "draw"]
    assert bars["decode"] == max(bars.values())
    assert bars["prefill"] == pytest.approx(bars["decode"] * 412 / 1900, abs=1)  # pyright: ignore[reportUnknownMemberType]
    assert bars["probe"] == 0


async def test_an_engine_that_did_not_measure_stages_shows_none() -> None:
    shown = words(await rows([loaded(), turn(1, tok_s=60.0, stages=None)]))
    assert not any("template" in line for line in shown)


async def test_a_reply_that_tokens_left_for_is_marked_under_its_bar() -> None:
    events = [loaded(), turn(1, tok_s=60.0), turn(2, tok_s=30.0, evicted=212), turn(3, tok_s=60.0), snapshot()]
    *_, bars, marks = await rows(events)
    assert bars == "█▄█ up to 60 tok/s"
    assert marks == " ^  ^ eviction"
