"""Sliding layers with the cells of their window only, against the same stream with all cells kept."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.protocol.commands import Measure
from chatapp.protocol.events import Loaded, Measured
from chatapp.protocol.values import CacheSettings
from tests.support.engine.process import Engine, english
from tests.support.tiny_models import tiny

N_CTX = 512
TOKENS = 4000
SAME = 2e-5
"""Rounding alone stays below a third of this; four other sinks are more than ten times as much."""


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as engine:
        yield engine


def stream(process: Engine, path: Path, *, swa_full: bool) -> tuple[Loaded, Measured]:
    """The perplexity of a text eight times as long as the window, F32 all through."""
    cache = CacheSettings(n_ctx=N_CTX, micro_batch=64, type_k="f32", type_v="f32", swa_full=swa_full)
    loaded = process.load(path, cache, scoring=True)
    process.post(Measure(text=english(1000), max_tokens=TOKENS))
    return loaded, process.until(Measured).one(Measured)


@pytest.mark.parametrize("name", ["gemma3", "gemma2", "gpt-oss"])
def test_a_long_stream_is_read_as_well_with_half_the_sliding_cells(process: Engine, name: str, tmp_path: Path) -> None:
    """Without a stop, renumbered (or not: gpt-oss) dozens of times, in fewer bytes."""
    path = tiny(name, tmp_path)
    (full_loaded, full), (loaded, pruned) = (stream(process, path, swa_full=swa_full) for swa_full in (True, False))
    assert (full_loaded.n_ctx_swa, loaded.n_ctx_swa) == (N_CTX, N_CTX // 2)
    kept, fewer = full_loaded.measured.kv_swa_bytes, loaded.measured.kv_swa_bytes
    assert kept is not None
    assert fewer is not None
    assert fewer < 0.52 * kept
    for result in (full, pruned):
        assert (result.stop_reason, result.tokens) == ("end", TOKENS - 1)
        assert result.evicted_tokens > 6 * N_CTX
    assert pruned.shifts == full.shifts
    assert abs(pruned.perplexity / full.perplexity - 1) < SAME
    assert max(abs(a / b - 1) for a, b in zip(pruned.curve, full.curve, strict=True)) < SAME
