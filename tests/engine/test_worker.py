"""A real engine process, and whatever can be asked of it: it answers, refuses, and is there for the next command."""

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.protocol.codec import AnyCommand, AnyEvent
from chatapp.protocol.commands import (
    AnswerNow,
    Cancel,
    Command,
    Examine,
    Load,
    Measure,
    Open,
    Pin,
    Recall,
    Regenerate,
    Save,
    Send,
    Several,
    Spell,
    Undo,
)
from chatapp.protocol.events import Examined, Failed, Snapshot, Spelled
from chatapp.protocol.values import CacheRequest, CacheSettings, EngineSettings, Message, Sampling
from tests.support.engine.process import Engine, check
from tests.support.tiny_models import NAMES, UNUSABLE, tiny

TURN = st.integers(-2, 9) | st.sampled_from([2**31, -(2**40)])
TEXT = st.text(max_size=30) | st.sampled_from(["", "\x00", "<|im_end|>", "word " * 90, "\ud7ff" * 9, "{{ 7 * 7 }}"])
SAMPLING = st.builds(
    Sampling,
    temperature=st.sampled_from([0.0, 0.7, 1e9, -1.0]),
    top_k=st.sampled_from([0, 1, 40, -5, 10**9]),
    top_p=st.sampled_from([0.0, 0.5, 1.0, 7.0]),
    min_p=st.sampled_from([0.0, 0.5, 2.0]),
    repeat_penalty=st.sampled_from([1.0, 1.1, 1e-9]),
    seed=st.none() | st.integers(0, 9),
    max_tokens=st.integers(1, 40),
)
MESSAGES = st.lists(st.builds(Message, turn=TURN, role=st.sampled_from(["user", "assistant"]), text=TEXT), max_size=6)
TURNS = st.lists(TURN, max_size=4)
COMMAND = st.one_of(
    st.builds(Send, turn=TURN, text=TEXT, sampling=SAMPLING),
    st.builds(Send, turn=st.integers(1, 9), text=TEXT, sampling=SAMPLING),
    st.builds(Regenerate, turn=TURN, sampling=SAMPLING),
    st.builds(Undo, turn=TURN),
    st.builds(Pin, turn=TURN, pinned=st.booleans()),
    st.builds(Spell, pos=TURN, n=TURN),
    st.builds(Recall, turns=TURNS),
    st.builds(Open, system=st.none() | TEXT, messages=MESSAGES, pinned=TURNS),
    st.builds(Save, path=st.sampled_from(["/nowhere/at/all", "STATE"])),
    st.builds(Several, system=st.none() | TEXT, prompts=st.lists(TEXT, max_size=3), sampling=SAMPLING),
    st.builds(Measure, text=TEXT, max_tokens=st.none() | st.integers(2, 300)),
    st.just(Cancel()),
    st.just(AnswerNow()),
)
CACHE = st.builds(
    CacheRequest,
    n_ctx=st.none() | st.sampled_from([256, 300, 512]),
    sinks=st.sampled_from([0, 4, 100, 10**6]),
    policy=st.sampled_from(["auto", "auto", "sinks", "slide", "rebuild", "window", "dense", "what?"]),
    evict_share=st.sampled_from([0.05, 0.125, 0.75]),
    swa_full=st.booleans(),
    type_k=st.sampled_from(["f16", "f16", "f32", "bf16", "q8_0", "q4_0", "z9"]),
    type_v=st.sampled_from(["f16", "f16", "f32", "q8_0"]),
    micro_batch=st.sampled_from([1, 32, 256]),
    live_branches=st.none() | st.integers(1, 3),
    checkpoint_mib=st.sampled_from([0, 64]),
)
ENGINE = st.builds(
    EngineSettings, threads=st.just(1), flash_attention=st.sampled_from(["auto", "on", "off"]), gpu_layers=st.just(-1)
)


class Engines:
    """An engine to try things on, and another one where it ended: each try is to be judged by itself."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._engine: Engine | None = None

    @property
    def one(self) -> Engine:
        if self._engine is None or self._engine.client.death is not None:
            self.close()
            self._engine = Engine(self._log).__enter__()
        return self._engine

    def close(self) -> None:
        if self._engine is not None:
            self._engine.__exit__(None, None, None)


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engines]:
    running = Engines(tmp_path_factory.mktemp("engine") / "log")
    yield running
    running.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


def answers(engine: Engine, commands: Sequence[Command], path: Path) -> list[AnyEvent]:
    """What the engine says to them. The last question has one answer only, so that nothing is left over."""
    seen: list[AnyEvent] = []
    engine.post(*commands, Examine(path=str(path), cache=CacheRequest(n_ctx=256), engine=EngineSettings()))

    async def read() -> None:
        async for event in engine.stream():
            seen.append(event)
            if isinstance(event, Snapshot):
                check(event)
            if isinstance(event, Examined):
                return
        raise AssertionError(f"the engine ended: {engine.client.death}")

    engine.run(asyncio.wait_for(read(), 60))
    return seen


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(sorted([*NAMES, *UNUSABLE])),
    cache=CACHE,
    how=ENGINE,
    commands=st.lists(COMMAND, max_size=12),
)
def test_no_sequence_of_commands_and_settings_ends_the_engine(
    engines: Engines,
    folder: Path,
    name: str,
    cache: CacheRequest,
    how: EngineSettings,
    commands: list[AnyCommand],
) -> None:
    """llama.cpp ends its process on a failed assertion: every way there must be refused before it is gone."""
    engine = engines.one
    pid = engine.pid
    commands = [Save(path=str(folder / "state")) if isinstance(c, Save) and c.path == "STATE" else c for c in commands]
    load = Load(path=str(tiny(name, folder)), cache=cache, engine=how, strict_memory=False)
    seen = answers(engine, [load, Open(system="Be brief.", messages=[]), *commands], tiny("llama", folder))
    assert engine.pid == pid
    for failed in (event for event in seen if isinstance(event, Failed)):
        assert failed.what


def test_tokens_that_were_asked_for_before_there_was_a_model_are_not_told_later(tmp_path: Path) -> None:
    """Else the first answer would be about another moment."""
    with Engine(tmp_path / "log") as engine:
        engine.post(Spell(pos=7))
        assert engine.until(Failed).one(Failed).what == "No model is loaded."
        engine.load(tiny("llama", tmp_path), CacheSettings(n_ctx=256))
        engine.open()
        engine.post(Spell(pos=0))
        assert engine.until(Spelled).one(Spelled).pos == 0
