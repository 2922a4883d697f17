"""Model files with one value of their metadata replaced: each loads or is refused in one line, and the engine lives."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chatapp.protocol.commands import Load
from chatapp.protocol.events import Failed, Loaded
from chatapp.protocol.values import CacheRequest, EngineSettings
from tests.robustness.tries import Try, tries
from tests.support.engine.process import Engine
from tests.support.gguf_metadata import ARRAY, PACKED, STRING, Metadata, array, scalar, string
from tests.support.tiny_models import tiny

BITS = {0: 8, 1: 8, 2: 16, 3: 16, 4: 32, 5: 32, 10: 64, 11: 64}
SIGNED = (1, 3, 5, 11)
TEXTS = (b"", b"good\nevict      yes", b"\xff\xfe", b"x" * 200_000, b"yarn", b"\x1b[2J", b"llama")
KINDS = ("llama", "llama-yarn", "gemma3", "mamba")
ABORTS = ("attention.key_length", "attention.value_length", "rope.dimension_count", "head_count")
"""llama.cpp ends its process for some values of these, before anything could be said of the file."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the valid models are."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as engine:
        yield engine


def load(engine: Engine, path: Path) -> Loaded | Failed:
    """What comes of loading the file."""

    async def answer() -> Loaded | Failed:
        async for event in engine.stream():
            if isinstance(event, Loaded | Failed):
                return event
        raise AssertionError(engine.client.death)

    engine.post(Load(path=str(path), cache=CacheRequest(n_ctx=256), engine=EngineSettings(gpu_layers=0)))
    return engine.run(answer())


def number(attempt: Try, kind: int) -> Any:
    if kind == 7:
        return attempt.random() < 0.5
    if kind not in BITS:
        return attempt.choice([math.nan, math.inf, -math.inf, 0.0, -1.0, 1e30, 0.5])
    low = -(1 << BITS[kind] - 1) if kind in SIGNED else 0
    high = low + (1 << BITS[kind]) - 1
    return attempt.choice([0, 1, 2, low, high, attempt.randint(low, high)])


def value(attempt: Try) -> tuple[int, bytes]:
    """Any type, and a value of it that no model has."""
    kind = attempt.choice([*PACKED, STRING, STRING, ARRAY])
    if kind == STRING:
        return kind, string(attempt.choice(TEXTS))
    if kind == ARRAY:
        inner = attempt.choice([*PACKED, STRING])
        count = attempt.choice([0, 1, 2, 4, 100])
        return kind, array(inner, [b"a\n" if inner == STRING else number(attempt, inner) for _ in range(count)])
    return kind, scalar(kind, number(attempt, kind))


def test_any_value_is_loaded_or_refused_in_one_line(engine: Engine, folder: Path, tmp_path: Path) -> None:
    """A wrong type, NaN or infinity ended the engine with a Python exception."""
    models = [Metadata.of(tiny(name, folder)) for name in KINDS]
    for attempt in tries("metadata", 200):
        changed = attempt.choice(models).copy()
        key = attempt.choice([key for key in changed.pairs if not key.decode().endswith(ABORTS)])
        changed.pairs[key] = value(attempt)
        answer = load(engine, changed.write(tmp_path / "model.gguf"))
        if isinstance(answer, Failed):
            line = f"{answer.what} {answer.todo}"
            assert "\n" not in line, str(attempt)
            assert len(line) < 2100, str(attempt)
            assert answer.kind in ("model", "user"), (str(attempt), answer)
        else:
            assert len(answer.model.name or "") <= 200, str(attempt)


@pytest.mark.parametrize(
    ("key", "kind", "data", "says"),
    [
        (b"llama.rope.scaling.type", ARRAY, array(4, [1]), "must be text"),
        (b"llama.rope.scaling.factor", 6, scalar(6, math.nan), "must be a finite number"),
        (b"llama.block_count", 12, scalar(12, math.inf), "must be a whole number from 0"),
        (b"llama.block_count", 11, scalar(11, -1), "has -1 for llama.block_count"),
        (b"llama.expert_count", 6, scalar(6, math.nan), "must be a whole number from 0"),
        (b"llama.expert_count", 10, scalar(10, 2**64 - 1), "must be a whole number from 0"),
        (b"general.architecture", STRING, string(b"x" * 200_000), "must be the name of an architecture"),
    ],
    ids=range(7),
)
def test_what_is_wrong_is_named(
    engine: Engine, folder: Path, tmp_path: Path, key: bytes, kind: int, data: bytes, says: str
) -> None:
    changed = Metadata.of(tiny("llama", folder))
    changed.pairs[key] = (kind, data)
    answer = load(engine, changed.write(tmp_path / "model.gguf"))
    assert isinstance(answer, Failed)
    assert says in answer.what
