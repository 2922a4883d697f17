"""Where a turn's time went: on a clock of the test's own, which stands still but for what each piece of work takes."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec import structs

from chatapp.engine import stopwatch
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.session import generation
from chatapp.engine.stopwatch import Stopwatch
from chatapp.protocol.commands import Load
from chatapp.protocol.events import Evicted, Probed, TurnDone
from chatapp.protocol.values import CacheRequest, CacheSettings, EngineSettings, Stages
from tests.support.engine.process import Engine, english, greedy
from tests.support.engine.tiny_session import TinySession, tiny_session
from tests.support.tiny_models import tiny

approx: Any = pytest.approx  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

TOKENIZED_MS, TOKEN_MS, SAMPLED_MS = 1000, 1, 0.01


@dataclass
class Clock:
    """The time, which is what was worked on, and how often."""

    ms: float = 0.0
    calls: dict[str, int] = field(default_factory=dict[str, int])

    def works(self, what: str, ms: float) -> None:
        self.ms += ms
        self.calls[what] = self.calls.get(what, 0) + 1

    def around(self, what: str, ms: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **named: Any) -> Any:
            self.works(what, ms)
            return work(*args, **named)

        return timed


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    for module in (stopwatch, generation):
        monkeypatch.setattr(module, "now", lambda: made.ms / 1000)
    monkeypatch.setattr(Model, "tokenize", made.around("tokenize", TOKENIZED_MS, Model.tokenize))
    monkeypatch.setattr(generation.Sampler, "sample", made.around("sample", SAMPLED_MS, generation.Sampler.sample))
    decode = Context.decode

    def timed(self: Context, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        made.works("decode", TOKEN_MS * len(tokens))
        return decode(self, tokens, pos, logits=logits)

    monkeypatch.setattr(Context, "decode", timed)
    return made


@contextmanager
def chatting(tmp_path: Path, clock: Clock, policy: str = "auto") -> Generator[TinySession]:
    with tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=256, micro_batch=32, policy=policy)) as chat:
        clock.calls.clear()
        clock.ms = 0
        yield chat


def spent(chat: TinySession) -> Stages:
    found = chat.last(TurnDone).stats.stages
    assert found is not None
    return found


def total(found: Stages) -> float:
    return sum(structs.astuple(found))


def test_each_stage_gets_the_time_of_its_own_work(tmp_path: Path, clock: Clock) -> None:
    """And together they are the whole turn, to the last tick."""
    with chatting(tmp_path, clock) as chat:
        chat.send(1, english(30), 12)
        found, done = spent(chat), chat.last(TurnDone).stats
        assert found.template == approx(TOKENIZED_MS * clock.calls["tokenize"])
        assert found.prefill == approx(TOKEN_MS * done.prompt_tokens)
        assert found.sample == approx(SAMPLED_MS * 12)
        assert found.decode == approx(TOKEN_MS * 12)
        assert found.probe == 0
        assert total(found) == approx(clock.ms)


def test_the_first_token_is_waited_for_from_the_message_on(tmp_path: Path, clock: Clock) -> None:
    """Who waits does not care what for: rendering the template counts."""
    with chatting(tmp_path, clock) as chat:
        chat.send(1, english(30), 4)
        done = chat.last(TurnDone).stats
        waited = TOKENIZED_MS * clock.calls["tokenize"] + TOKEN_MS * done.prompt_tokens + SAMPLED_MS
        assert done.ttft_s == approx(waited / 1000)


def test_a_cache_made_again_counts_where_it_was_needed(tmp_path: Path, clock: Clock) -> None:
    """Under `rebuild` room costs a pass over what stays: in the prompt for the prompt, in the reply for the reply."""
    with chatting(tmp_path, clock, "rebuild") as chat:
        chat.send(1, english(30), 10)
        chat.send(2, english(30), 250)
        clock.ms = 0
        chat.send(3, english(100), 60)
        found, done = spent(chat), chat.last(TurnDone).stats
        again = {event.why: 0 for event in chat.all(Evicted)}
        for event in chat.all(Evicted):
            again[event.why] += event.reprocessed_tokens
        assert again["the prompt needed cells"]
        assert again["the reply needed cells"]
        assert found.prefill == approx(TOKEN_MS * (done.prompt_tokens + again["the prompt needed cells"]))
        assert found.decode == approx(TOKEN_MS * (60 + again["the reply needed cells"]))
        assert total(found) == approx(clock.ms)


def test_a_turn_that_comes_to_nothing_has_its_time_too(tmp_path: Path, clock: Clock) -> None:
    """Stopped in its prompt: it was read, and is taken out again."""
    with chatting(tmp_path, clock) as chat:
        answers = iter((False, False))
        chat.stop = lambda: next(answers, True)
        chat.send(1, english(100), 12)
        found = spent(chat)
        assert (found.prefill, found.sample, found.decode) == (approx(2 * 32 * TOKEN_MS), 0, 0)
        assert total(found) == approx(clock.ms)


def test_another_reply_reads_no_message(tmp_path: Path, clock: Clock) -> None:
    with chatting(tmp_path, clock) as chat:
        chat.send(1, english(30), 4)
        clock.ms = 0
        chat.again(1, tokens=6)
        found = spent(chat)
        assert (found.template, found.prefill, found.decode) == (0, TOKEN_MS, approx(6 * TOKEN_MS))
        assert total(found) == approx(clock.ms)


@pytest.mark.parametrize(("plain", "decode", "probe"), [((100, 110, 90), 400, 50), ((), 0, 150)])
def test_a_token_that_is_looked_into_was_decoded_like_the_others(
    clock: Clock, plain: Sequence[float], decode: float, probe: float
) -> None:
    """What it took longer was the looking; without others to compare with, all of it is told as looking."""
    watch = Stopwatch()
    for ms in plain:
        clock.ms += ms
        watch.lap("decode")
    clock.ms += 120
    watch.watched()
    clock.ms += 30
    watch.lap("probe")
    found = watch.stages(len(plain) + 1)
    assert (found.decode, found.probe) == (approx(decode), approx(probe))


def test_the_stages_of_a_real_reply_are_nearly_its_time(starter: Path, tmp_path: Path) -> None:
    """What has no stage is little: snapshots, and what the engine says of itself."""
    with Engine(tmp_path / "engine.log") as engine:
        engine.post(Load(path=str(starter), cache=CacheSettings(n_ctx=512), engine=EngineSettings(probe_every=8)))
        engine.open(system="Be brief.")
        posted_s = time.time()
        seen = engine.send(1, "Write the numbers from 1 to 100.", greedy(40))
    found = seen.done.stats.stages
    assert found is not None
    assert seen.all(Probed)
    assert min(structs.astuple(found)) > 0
    assert total(found) <= (seen.done.at_s - posted_s) * 1000
    assert total(found) >= 0.8 * (seen.done.at_s - seen.started.at_s) * 1000
