"""The plan before loading against what llama.cpp then says that it allocated, for every kind of model and cache."""

import dataclasses
import sys
from pathlib import Path

import pytest
from msgspec import structs

from chatapp.engine.native import gguf, llama, load_log
from chatapp.engine.native.load_log import ROUNDING_BYTES
from chatapp.engine.planning import dry_run, weight_placement
from chatapp.engine.planning.dry_run import DryRun, DryRunSizes
from chatapp.engine.planning.load_plan import MEMORY_MARGIN, Prepared, check_fits, needed_bytes, prepare
from chatapp.errors import UserError
from chatapp.protocol.values import (
    Buffers,
    CacheRequest,
    CacheSettings,
    EngineSettings,
    Memory,
)
from tests.support.tiny_models import LFM2_ATTENTION, NAMES, SPECS, WINDOW, tiny

SETTINGS = {
    "f16": CacheSettings(n_ctx=1024, micro_batch=64),
    "long": CacheSettings(n_ctx=4096, micro_batch=256),
    "full": CacheSettings(n_ctx=2048, micro_batch=128, swa_full=True),
    "q8_0": CacheSettings(n_ctx=512, micro_batch=32, type_k="q8_0", type_v="q8_0"),
    "mixed": CacheSettings(n_ctx=768, micro_batch=64, type_k="q8_0", type_v="f16"),
    "f32": CacheSettings(n_ctx=1024, micro_batch=128, type_k="f32", type_v="f32"),
    "branches": CacheSettings(n_ctx=1024, micro_batch=64, live_branches=3),
}
ELEMENT_BYTES = {"f32": 4.0, "f16": 2.0, "q8_0": 34 / 32}
COMPUTE_TOLERANCE = 0.02


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def settings_for(name: str, settings: str) -> CacheSettings:
    """The settings, with a window that the model has positions for."""
    cache = SETTINGS[settings]
    return structs.replace(cache, n_ctx=min(cache.n_ctx, SPECS[name].n_ctx))


def check(
    path: Path, cache: CacheRequest, *, scoring: bool, flash_attention: str = "auto", free_bytes: int = sys.maxsize
) -> Memory:
    """Plan, load, and hold one against the other; the plan."""
    engine = EngineSettings(gpu_layers=0, flash_attention=flash_attention)
    prepared = prepare(path, cache, scoring=scoring, engine=engine, free_bytes=free_bytes)
    planned, measured = prepared.planned(), loaded(prepared)
    assert near(planned.weights_bytes, measured.weights_bytes)
    assert near(planned.kv_bytes, measured.kv_bytes)
    assert near(planned.kv_swa_bytes, measured.kv_swa_bytes)
    assert near(planned.compute_bytes, measured.compute_bytes, COMPUTE_TOLERANCE)
    return planned


def near(planned: int | None, measured: int | None, share: float = 0) -> bool:
    """Equal but for the rounding of the log, and for this share."""
    if planned is None or measured is None:
        return planned is measured
    return abs(planned - measured) <= max(ROUNDING_BYTES, share * measured)


def loaded(prepared: Prepared) -> Memory:
    """What llama.cpp's log says of a real load."""
    llama.init()
    model = llama.Model(prepared.path, gpu_layers=prepared.engine.gpu_layers)
    context = llama.Context(
        model, prepared.cache, prepared.engine, n_outputs=prepared.n_outputs, n_sequences=prepared.n_sequences
    )
    measured = load_log.read(model.log + context.log)
    context.close()
    model.close()
    return measured.memory


@pytest.mark.parametrize("scoring", [False, True], ids=["chat", "scoring"])
@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", NAMES)
def test_the_plan_of_every_kind_of_model_is_what_llama_cpp_allocates(
    folder: Path, name: str, settings: str, scoring: bool
) -> None:
    cache = settings_for(name, settings)
    path = tiny(name, folder)
    if SPECS[name].head_dim % 32 and "q8_0" in (cache.type_k, cache.type_v):
        with pytest.raises(UserError, match="heads have 80"):
            prepare(path, cache)
        return
    check(path, cache, scoring=scoring)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss", "lfm2"])
def test_without_flash_attention_the_plan_holds_too(folder: Path, name: str) -> None:
    off = check(tiny(name, folder), SETTINGS["f16"], scoring=False, flash_attention="off")
    on = check(tiny(name, folder), SETTINGS["f16"], scoring=False)
    assert (off.compute_bytes or 0) > (on.compute_bytes or 0)


@pytest.mark.parametrize("settings", ["f16", "full", "q8_0", "f32"])
@pytest.mark.parametrize("model", ["starter", "gemma"])
def test_the_plan_of_the_real_models_is_what_llama_cpp_allocates(
    model: str, settings: str, request: pytest.FixtureRequest
) -> None:
    check(request.getfixturevalue(model), SETTINGS[settings], scoring=settings == "f32")


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("name", [name for name in NAMES if SPECS[name].head_dim % 32 == 0 and name != "mamba"])
def test_the_cells_of_a_plan_are_exact_to_the_byte(folder: Path, name: str, settings: str) -> None:
    """Against a count by hand: llama.cpp's log rounds to a hundredth of a MiB, which is much for a tiny model."""
    spec, cache = SPECS[name], settings_for(name, settings)
    prepared = prepare(tiny(name, folder), cache)
    width = spec.n_head_kv * spec.head_dim
    row = width * (ELEMENT_BYTES[cache.type_k] + ELEMENT_BYTES[cache.type_v])
    n_sliding = sum(spec.sliding())
    n_attending = sum(LFM2_ATTENTION) if name == "lfm2" else spec.n_layer
    assert prepared.size.kv == (n_attending - n_sliding) * row * cache.n_ctx
    if n_sliding:
        pruned = cache.n_ctx if name == "llama4" else -(-(WINDOW + prepared.cache.micro_batch) // 256) * 256
        assert prepared.size.kv_swa == n_sliding * row * (cache.n_ctx if cache.swa_full else pruned)
    else:
        assert prepared.size.kv_swa is None


def test_a_recurrent_state_is_in_the_plan_and_grows_with_nothing(folder: Path) -> None:
    short, long = (prepare(tiny("mamba", folder), CacheSettings(n_ctx=n_ctx)) for n_ctx in (512, 8192))
    state_bytes = 4 * (128 * 16 + 128 * 3) * 4
    assert short.size.kv == long.size.kv
    assert near(short.size.kv, state_bytes)


def test_weights_that_the_cpu_lays_out_anew_are_counted(folder: Path) -> None:
    """On a CPU with such a layout for Q4_0 the copy is as large as the weights themselves; never less is counted."""
    for name in ("llama-q4", "mixtral-q4"):
        meta = gguf.read(tiny(name, folder))
        total = sum(tensor.size_bytes for tensor in meta.tensors.values())
        assert total <= weight_placement.by_device(meta, [])["CPU"] <= 2 * total


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss"])
def test_cells_are_planned_where_their_layers_are(folder: Path, name: str) -> None:
    """On two devices by turns: together they hold what one holds, and each what its own layers take."""
    cache = CacheSettings(n_ctx=1024, micro_batch=64)
    with DryRun(gguf.read(tiny(name, folder)), gpu_layers=0) as rehearsed:
        (host,) = rehearsed.sizes(cache, EngineSettings(), n_outputs=1).buffers
        layers = rehearsed.structure.cached
        by_turns = tuple(("CPU", "CUDA0")[i % 2] for i in range(len(layers)))
        rehearsed.structure = dataclasses.replace(rehearsed.structure, cached_on=by_turns)
        other = structs.replace(cache, type_v="f32")  # not the one that is known
        sizes = rehearsed.sizes(other, EngineSettings(), n_outputs=1)
    assert host.device == "CPU"
    assert (host.memory.kv_bytes, host.memory.kv_swa_bytes) != (None, None)
    assert [each.device for each in sizes.buffers] == ["CPU", "CUDA0"]
    assert sum(each.memory.kv_bytes or 0 for each in sizes.buffers) == sizes.kv
    assert sum(each.memory.kv_swa_bytes or 0 for each in sizes.buffers) == (sizes.kv_swa or 0)
    for device, memory in ((each.device, each.memory) for each in sizes.buffers):
        here = [layer for layer, on in zip(layers, by_turns, strict=True) if on == device]
        fixed = sum(1024 * (layer.k_width * 2 + layer.v_width * 4) for layer in here if not layer.slides)
        assert memory.kv_bytes == (fixed or None)


def test_what_must_fit_on_cards_is_what_goes_there() -> None:
    """The words stay on the host. Where layers do too, or nobody knows which cells are where, all of it must fit."""
    words = Buffers(device="CPU", memory=Memory(compute_bytes=3))
    card = Buffers(device="CUDA0", memory=Memory(kv_bytes=80, kv_swa_bytes=7, compute_bytes=5))
    sizes = DryRunSizes(kv=80, kv_swa=7, compute=8, rotates_keys=False, buffers=(words, card))
    on_both = {"CPU": 1000, "CUDA0": 3000}
    whole = 4000 + 80 + 7 + 8
    assert needed_bytes(on_both, sizes) == 3000 + 80 + 7 + 5
    assert needed_bytes(on_both, dataclasses.replace(sizes, buffers=())) == whole
    layers = Buffers(device="CPU", memory=Memory(kv_bytes=20, compute_bytes=3))
    assert needed_bytes(on_both, dataclasses.replace(sizes, kv=100, buffers=(layers, card))) == whole + 20
    all_here = Buffers(device="CPU", memory=Memory(kv_bytes=80, kv_swa_bytes=7, compute_bytes=3))
    only_computes = Buffers(device="CUDA0", memory=Memory(compute_bytes=5))
    assert needed_bytes({"CPU": 4000}, dataclasses.replace(sizes, buffers=(all_here, only_computes))) == whole


def test_far_windows_go_on_in_straight_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Past a bound the sizes are computed from two dry runs; they must be those of a dry run all the same."""
    cache = CacheSettings(n_ctx=65536, micro_batch=64)
    for name in ("llama", "gemma3", "gpt-oss", "lfm2"):
        with DryRun(gguf.read(tiny(name, folder))) as rehearsed:
            straight = rehearsed.sizes(cache, EngineSettings(), n_outputs=1)
            with monkeypatch.context() as patch:
                patch.setattr(dry_run, "MOST_DRY_RUN_CELLS", 8192)
                far = rehearsed.sizes(cache, EngineSettings(), n_outputs=1)
        assert (far.kv, far.kv_swa) == (straight.kv, straight.kv_swa)
        assert near(far.compute, straight.compute, COMPUTE_TOLERANCE)


@pytest.mark.parametrize("scoring", [False, True], ids=["chat", "scoring"])
@pytest.mark.parametrize("name", ["llama", "gemma3", "mixtral"])
def test_the_largest_window_fits_and_the_next_one_does_not(folder: Path, name: str, scoring: bool) -> None:
    """Whatever window was asked for: a short one has a smaller micro-batch, and fewer logits to score with."""
    path, free = tiny(name, folder), 100 * 2**20
    cache = CacheSettings(n_ctx=512)
    largest = prepare(path, cache, scoring=scoring).largest_window(free)
    fits, too_long = (
        prepare(path, structs.replace(cache, n_ctx=n), scoring=scoring).size.total for n in (largest, largest + 256)
    )
    assert fits <= free * MEMORY_MARGIN < too_long


LARGEST = CacheRequest(n_ctx=None)


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss", "lfm2"])
def test_the_window_that_memory_allows_takes_what_was_planned(folder: Path, name: str) -> None:
    """`--ctx max` on a machine with little memory: it fits, the next larger one would not, and the plan holds."""
    path = tiny(name, folder)
    free = round(prepare(path, CacheSettings(n_ctx=1600)).size.total / MEMORY_MARGIN)
    found = prepare(path, LARGEST, free_bytes=free)
    assert 256 < found.cache.n_ctx < SPECS[name].n_ctx
    assert found.cache.n_ctx == found.largest_window(free)
    check_fits(found, free, gpu=False)
    check(path, LARGEST, scoring=False, free_bytes=free)


@pytest.mark.parametrize(("name", "n_ctx"), [("llama", 4096), ("gpt2", 1024)])
def test_with_memory_to_spare_the_window_is_as_long_as_the_training(folder: Path, name: str, n_ctx: int) -> None:
    """Past it a model gets worse, and one with learned positions has no more."""
    assert prepare(tiny(name, folder), LARGEST).cache.n_ctx == n_ctx


def test_where_no_window_fits_the_largest_is_refused_like_any_other(starter: Path) -> None:
    free = 64 * 2**20
    with pytest.raises(UserError, match=r"A window of 256 tokens needs .* Not even a window of 256 tokens fits"):
        check_fits(prepare(starter, LARGEST, free_bytes=free), free, gpu=False)


def test_a_window_that_does_not_fit_is_refused_with_the_numbers(starter: Path) -> None:
    """Even one that no machine could rehearse: 2**31 cells."""
    free = 512 * 2**20
    prepared = prepare(starter, CacheSettings(n_ctx=2**31 - 256))
    with pytest.raises(UserError) as refused:
        check_fits(prepared, free, gpu=False)
    assert "needs 4" in refused.value.what
    assert "92.1 MiB of weights" in refused.value.what
    assert "512 MiB free" in refused.value.what
    largest = int(refused.value.todo.rpartition(" ")[2].rstrip("."))
    assert largest % 256 == 0
    check_fits(prepare(starter, CacheSettings(n_ctx=largest)), free, gpu=False)


def test_a_model_larger_than_memory_says_that_nothing_fits(starter: Path) -> None:
    with pytest.raises(UserError, match="Not even a window of 256 tokens fits"):
        check_fits(prepare(starter, CacheSettings()), 64 * 2**20, gpu=True)


def test_a_rehearsal_leaves_the_log_as_it_was(folder: Path) -> None:
    """The engine reads sizes out of the log of the real load; a dry run in between must not end that."""
    llama.init()
    prepare(tiny("llama", folder), CacheSettings())
    model = llama.Model(tiny("llama", folder))
    model.close()
    assert load_log.read(model.log).memory.weights_bytes
