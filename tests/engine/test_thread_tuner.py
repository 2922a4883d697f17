"""Numbers of threads in a context: set where they change, apart for replies and prompts."""

from pathlib import Path

import pytest

from chatapp.engine.native.llama import Context, Model
from chatapp.engine.thread_tuner import ThreadTuner
from chatapp.processors import Processors
from chatapp.protocol.commands import Load, Open, Send
from chatapp.protocol.events import Loaded, Opened, Snapshot, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings, Sampling, Threads
from tests.support.engine.process import Engine
from tests.support.tiny_models import tiny


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("models"))


def test_a_slow_decode_is_done_by_fewer_and_prompts_keep_theirs() -> None:
    told: list[tuple[int, int]] = []

    def apply(decode: int, prefill: int) -> None:
        told.append((decode, prefill))

    tuner = ThreadTuner(Processors(4, 3), 256, apply, idle=lambda: None)
    assert told == [(3, 3)], "on the fast cores at first"
    for _ in range(400):
        tuner.took(1, 0.01 if told[-1][0] == 1 else 0.05)
        tuner.took(100, 1.0)  # a short chunk says nothing
    assert tuner.threads == Threads(decode=1, prefill=3, most=4, why="faster than 2")
    assert {prefill for _, prefill in told} == {3}


def test_a_context_uses_the_number_that_is_set_and_computes_the_same(model: Path) -> None:
    """Bit for bit: the number may change between any two tokens."""
    weights = Model(model, gpu_layers=0)
    context = Context(weights, CacheSettings(n_ctx=256, micro_batch=32), EngineSettings(threads=1))
    decoded: list[int] = []
    context.on_decoded = lambda n, _: decoded.append(n)
    seen: list[bytes] = []
    for numbers in ([1, 1], [2, 2], [1, 2]):
        context.clear()
        for i in range(6):
            context.set_threads(numbers[i % 2], numbers[i % 2])
            assert context.n_threads == numbers[i % 2]
            assert context.decode([5 + i] * 8 if i == 0 else [5 + i], 0 if i == 0 else 7 + i) == 0
            seen.append(context.logits(1).tobytes())
    assert seen[:6] == seen[6:12] == seen[12:]
    assert decoded == [8, 1, 1, 1, 1, 1] * 3
    context.close()
    weights.close()


@pytest.mark.parametrize(("threads", "why"), [(None, None), (1, "from settings")])
def test_a_snapshot_tells_the_number_and_why(tmp_path: Path, model: Path, threads: int | None, why: str | None) -> None:
    with Engine(tmp_path / "log") as engine:
        engine.post(
            Load(
                path=str(model),
                cache=CacheSettings(n_ctx=256, micro_batch=32),
                engine=EngineSettings(threads=threads, gpu_layers=0),
            )
        )
        engine.until(Loaded)
        engine.post(Open(system=None, messages=[]))
        engine.until(Opened)
        engine.post(Send(turn=1, text="Hello", sampling=Sampling(temperature=0, max_tokens=40)))
        shown = [event.threads for event in engine.until(TurnDone).events if isinstance(event, Snapshot)][-1]
    assert shown is not None
    assert 1 <= shown.decode <= shown.most
    assert why is None or shown.why == why
    assert shown.why
