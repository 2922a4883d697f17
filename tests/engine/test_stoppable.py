"""Esc takes effect inside the long steps: a batch of a prompt, the tokenizing of a long text, a forecast of one."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.engine import stoppable
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.template import model_template
from chatapp.engine.template.model_template import template_of
from chatapp.protocol.commands import Cancel, Forecast, Send, Spell
from chatapp.protocol.events import Foreseen, Prefilled, Spelled, Tokenizing, TurnDone, TurnStarted
from chatapp.protocol.values import CacheSettings
from tests.support.engine.process import Engine, english, greedy

SOON_S = 0.5
MEGABYTES = english(400_000) * 12


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as engine:
        yield engine


@pytest.mark.parametrize("name", ["starter", "gemma"])
def test_a_stop_ends_the_batch_in_progress(process: Engine, name: str, request: pytest.FixtureRequest) -> None:
    """None of its tokens is in the cache then, and the conversation goes on as if it had not begun."""
    process.load(request.getfixturevalue(name), CacheSettings(n_ctx=4096, micro_batch=2048))
    process.open()
    process.send(1, english(60), greedy(4))
    before = process.send(2, english(20), greedy(4)).snapshot
    process.post(Send(turn=3, text=english(1200), sampling=greedy(4)))
    process.until(TurnStarted)
    time.sleep(0.1)
    process.post(Cancel())
    began = time.perf_counter()
    stopped = process.until(TurnDone)
    assert time.perf_counter() - began < SOON_S
    assert stopped.done.stop_reason == "cancelled"
    assert not any(event.done > 20 for event in stopped.all(Prefilled))  # the markup that closes the reply before
    assert {run.turn for run in stopped.snapshot.runs} == {0, 1, 2}
    assert stopped.snapshot.n_used - before.n_used in (0, 2)
    after = process.send(3, english(20), greedy(8))
    process.open()
    process.send(1, english(60), greedy(4))
    process.send(2, english(20), greedy(4))
    assert process.send(3, english(20), greedy(8)).text == after.text


def test_a_stop_ends_the_wait_for_a_long_text(process: Engine, starter: Path) -> None:
    """It is tokenized in a thread, which ends by itself; a model that is closed meanwhile is freed after it."""
    process.load(starter, CacheSettings(n_ctx=512))
    process.open()
    process.post(Send(turn=1, text=MEGABYTES, sampling=greedy(4)))
    assert process.until(Tokenizing).one(Tokenizing).characters > len(MEGABYTES) - 2
    process.post(Cancel())
    began = time.perf_counter()
    stopped = process.until(TurnDone)
    assert time.perf_counter() - began < SOON_S
    assert (stopped.done.stop_reason, stopped.done.stats.prompt_tokens) == ("cancelled", 0)
    process.load(starter, CacheSettings(n_ctx=512))
    process.open()
    assert process.send(1, "Hello", greedy(4)).done.stats.reply_tokens > 0


def test_a_forecast_of_a_long_draft_gives_way(process: Engine, starter: Path) -> None:
    """To what is newer, but not to the words under a cursor."""
    process.load(starter, CacheSettings(n_ctx=512))
    process.open()
    began = time.perf_counter()
    process.post(Forecast(id=1, text=MEGABYTES), Forecast(id=2, text="Hello"), Spell(pos=0))
    seen = process.until(Spelled)
    assert time.perf_counter() - began < 2 * SOON_S
    assert [event.id for event in seen.all(Foreseen)] == [2]


def test_a_long_text_has_the_same_tokens_as_a_short_one(starter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is tokenized in a thread changes none of them."""
    llama.init()
    model = Model(starter)
    try:
        text = english(3_000) + "  \n\n\t é 🙂 <|im_end|> 12345 " + english(200)
        plain = template_of(model, []).prompt(None, text)
        monkeypatch.setattr(model_template, "LONG_TEXT", 1)
        lengths: list[int] = []
        assert template_of(model, [], on_long=lengths.append).prompt(None, text) == plain
        assert max(lengths) > 10_000
        with pytest.raises(CancelledError):
            template_of(model, [], cancelled=lambda: True).prompt(None, text)
    finally:
        model.close()


def test_what_a_thread_raises_is_raised() -> None:
    looks = itertools.count()
    assert stoppable.in_thread(lambda: 7, lambda: False) == 7
    with pytest.raises(ZeroDivisionError):
        stoppable.in_thread(lambda: 1 // 0, lambda: False)
    with pytest.raises(CancelledError):
        stoppable.in_thread(lambda: time.sleep(0.3), lambda: next(looks) > 1)
