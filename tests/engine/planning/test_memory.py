"""The plan of bytes, made before anything is loaded, against what llama.cpp says that it allocated."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatapp.cache.memory_plan import padded
from chatapp.engine.native import gguf, load_log
from chatapp.engine.planning import weight_placement
from chatapp.protocol.commands import Load, Open
from chatapp.protocol.events import Failed, LoadProgress, Snapshot
from chatapp.protocol.values import Buffers, CacheSettings, EngineSettings, Memory
from tests.support.engine.process import Engine

MIB = 2**20


@dataclass(frozen=True)
class Bench:
    """An engine, and the log that it writes."""

    engine: Engine
    log: Path


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    log = tmp_path_factory.mktemp("engine") / "log"
    with Engine(log) as engine:
        yield Bench(engine, log)


def near(planned: int | None, measured: int | None, within: float = 0.02) -> bool:
    return planned is not None and measured is not None and abs(planned - measured) <= within * measured + 0.02 * MIB


def sum_of(buffers: list[Buffers]) -> Memory:
    """All devices together."""

    def total(sizes: list[int | None]) -> int | None:
        known = [size for size in sizes if size is not None]
        return sum(known) if known else None

    memories = [each.memory for each in buffers]
    return Memory(
        weights_bytes=total([memory.weights_bytes for memory in memories]),
        kv_bytes=total([memory.kv_bytes for memory in memories]),
        kv_swa_bytes=total([memory.kv_swa_bytes for memory in memories]),
        compute_bytes=total([memory.compute_bytes for memory in memories]),
    )


CACHES = [
    CacheSettings(n_ctx=512),
    CacheSettings(n_ctx=3000, type_k="q8_0", type_v="q8_0"),
    CacheSettings(n_ctx=8192, micro_batch=128),
]
FULL = CacheSettings(n_ctx=4096, swa_full=True)


@pytest.mark.parametrize("cache", CACHES, ids=lambda cache: f"{cache.n_ctx}-{cache.type_k}")
@pytest.mark.parametrize("scoring", [False, True], ids=["chat", "scoring"])
def test_the_starter_takes_what_was_planned(bench: Bench, starter: Path, cache: CacheSettings, scoring: bool) -> None:
    loaded = bench.engine.load(starter, cache, scoring=scoring)
    planned, measured = loaded.planned, loaded.measured
    assert loaded.n_ctx == padded(cache.n_ctx)
    assert near(planned.weights_bytes, measured.weights_bytes)
    assert near(planned.kv_bytes, measured.kv_bytes)
    assert (planned.kv_swa_bytes, measured.kv_swa_bytes, loaded.n_ctx_swa) == (None, None, None)
    assert near(planned.compute_bytes, measured.compute_bytes)
    assert measured == sum_of(loaded.buffers)
    (host,) = loaded.planned_buffers
    assert host.device == "CPU"
    for name in ("weights_bytes", "kv_bytes", "compute_bytes"):
        assert near(getattr(host.memory, name), getattr(planned, name))


@pytest.mark.parametrize(
    "cache", [*CACHES, CacheSettings(n_ctx=4096, swa_full=True)], ids=lambda c: f"{c.n_ctx}-{c.type_k}"
)
def test_a_model_with_two_caches_takes_what_was_planned(bench: Bench, gemma: Path, cache: CacheSettings) -> None:
    """The sliding layers' cells are counted apart, and pruned unless all are asked for."""
    loaded = bench.engine.load(gemma, cache)
    planned, measured = loaded.planned, loaded.measured
    assert measured.weights_bytes is not None
    assert near(planned.weights_bytes, measured.weights_bytes)
    assert near(planned.kv_bytes, measured.kv_bytes)
    assert near(planned.kv_swa_bytes, measured.kv_swa_bytes)
    assert measured == sum_of(loaded.buffers)
    assert loaded.n_ctx_swa == (4096 if cache.swa_full else min(padded(cache.n_ctx), 768))
    assert near(planned.compute_bytes, measured.compute_bytes)


def test_a_window_larger_than_memory_is_refused_with_the_largest_that_fits(bench: Bench, starter: Path) -> None:
    """Before a weight is loaded; and the window that is offered fits."""
    bench.engine.post(Load(path=str(starter), cache=CacheSettings(n_ctx=50_000_000), engine=EngineSettings()))
    seen = bench.engine.until(Failed)
    failed = seen.one(Failed)
    assert failed.kind == "user"
    assert seen.all(LoadProgress) == []
    assert re.match(r"A window of 50000128 tokens needs [\d.]+ [GT]iB \(92\.1 MiB of weights, ", failed.what)
    offered = re.fullmatch(r"The largest window that fits is --ctx (\d+)\.", failed.todo)
    assert offered
    assert int(offered[1]) % 256 == 0
    assert int(offered[1]) > 8192


LOG = """\
load_tensors:   CPU_Mapped model buffer size =   100.00 MiB
load_tensors:        CUDA0 model buffer size =   200.50 MiB
llama_kv_cache_iswa: creating non-SWA KV cache, size = 2048 cells
llama_kv_cache:        CPU KV buffer size =     4.00 MiB
llama_kv_cache:      CUDA0 KV buffer size =     8.00 MiB
llama_kv_cache: size =   12.00 MiB (  2048 cells,   3 layers,  1/1 seqs), K (f16):    6.00 MiB, V (f16):    6.00 MiB
llama_kv_cache_iswa: creating     SWA KV cache, size = 768 cells
llama_kv_cache:      CUDA0 KV buffer size =    11.25 MiB
llama_kv_cache: size =   11.25 MiB (   768 cells,  15 layers,  1/1 seqs), K (f16):    5.62 MiB, V (f16):    5.62 MiB
sched_reserve:      CUDA0 compute buffer size =     4.00 MiB
sched_reserve:  CUDA_Host compute buffer size =     1.00 MiB
"""


def test_the_load_log_of_a_gpu_is_read_too() -> None:
    """As llama.cpp writes it where layers are offloaded: all devices count."""
    measured = load_log.read(LOG)
    assert measured.on_gpu
    assert measured.swa_cells == 768
    memory = measured.memory
    assert memory.weights_bytes == round(300.5 * MIB)
    assert (memory.kv_bytes, memory.kv_swa_bytes, memory.compute_bytes) == (12 * MIB, round(11.25 * MIB), 5 * MIB)


def test_the_load_log_tells_what_each_device_holds() -> None:
    """What a driver keeps on the host is the host's, and the host comes first."""
    host, card = load_log.by_device(LOG)
    assert (host.device, host.memory) == (
        "CPU",
        Memory(weights_bytes=100 * MIB, kv_bytes=4 * MIB, kv_swa_bytes=None, compute_bytes=MIB),
    )
    assert (card.device, card.memory) == (
        "CUDA0",
        Memory(
            weights_bytes=round(200.5 * MIB),
            kv_bytes=8 * MIB,
            kv_swa_bytes=round(11.25 * MIB),
            compute_bytes=4 * MIB,
        ),
    )
    assert load_log.by_device("something else\n") == []


def test_the_cache_of_sliding_layers_is_found_with_one_space_too() -> None:
    """As the cache of DeepSeek's sparse attention logs it."""
    measured = load_log.read(LOG.replace("creating     SWA", "creating SWA"))
    assert (measured.swa_cells, measured.memory.kv_bytes) == (768, 12 * MIB)


DRY_RUN = """\
load_tensors: layer   0 assigned to device CPU, is_swa = 0
load_tensors: layer  10 assigned to device CUDA1, is_swa = 0
load_tensors: layer   1 assigned to device CUDA0, is_swa = 1
"""


def test_the_log_of_a_dry_run_tells_where_each_layer_goes() -> None:
    """In order of the layers, whatever the order of the lines."""
    assert load_log.placed(DRY_RUN, 2) == ["CPU", "CUDA0", "CUDA1"]
    assert load_log.sliding(DRY_RUN) == [False, True, False]


@pytest.mark.parametrize("n_here", [0, 10, 30])
def test_weights_are_planned_where_the_layers_go(starter: Path, n_here: int) -> None:
    """SmolLM2's output is its embedding: with the output on a card that has a copy, and the host looks words up."""
    meta = gguf.read(starter)
    sizes = weight_placement.by_device(meta, [*["CPU"] * n_here, *["CUDA0"] * (31 - n_here)])
    layer = [sum(t.size_bytes for name, t in meta.tensors.items() if name.startswith(f"blk.{i}.")) for i in range(30)]
    embedding = meta.tensors["token_embd.weight"].size_bytes
    norm = meta.tensors["output_norm.weight"].size_bytes
    assert sizes["CUDA0"] == sum(layer[i] for i in range(n_here, 30)) + norm + embedding
    assert sizes["CPU"] >= embedding + sum(layer[i] for i in range(n_here))
    assert set(weight_placement.by_device(meta, ["CPU"] * 31)) == {"CPU"}


def test_what_the_log_does_not_say_is_not_known() -> None:
    measured = load_log.read("something else\n")
    memory = measured.memory
    assert (memory.weights_bytes, memory.kv_bytes, memory.kv_swa_bytes, memory.compute_bytes) == (None,) * 4
    assert not measured.on_gpu


def test_a_snapshot_tells_what_memory_the_host_has_left(bench: Bench, starter: Path) -> None:
    """The interface warns by these figures before the system swaps or ends the engine."""
    bench.engine.load(starter, CacheSettings(n_ctx=512))
    bench.engine.post(Open(system=None, messages=[]))
    shown = bench.engine.until(Snapshot).all(Snapshot)[-1]
    assert shown.host is not None
    assert shown.resident_bytes is not None
    assert 0 < shown.host.available_bytes <= shown.host.limit_bytes
    assert shown.host.private_bytes is None or 0 < shown.host.private_bytes <= shown.resident_bytes
