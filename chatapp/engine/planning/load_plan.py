"""Everything that is decided before weights are loaded: facts, capability, memory plan, and whether it fits."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from chatapp import host_memory, units
from chatapp.cache import memory_plan as plans
from chatapp.engine.native import gguf, llama
from chatapp.engine.native.gguf import GgufMeta
from chatapp.engine.planning import capability as capabilities
from chatapp.engine.planning import weight_placement
from chatapp.engine.planning.dry_run import DryRun, DryRunSizes, ModelStructure, lines_of_load
from chatapp.engine.probe import tap
from chatapp.errors import UserError
from chatapp.protocol.values import (
    HOST,
    Buffers,
    CacheRequest,
    CacheSettings,
    Capability,
    Device,
    EngineSettings,
    Memory,
    ModelFacts,
    host_first,
)

MEMORY_MARGIN = 0.95
"""The share of the free memory that a plan may take."""
SMALLEST_MICRO_BATCH = 32
MICRO_BATCHES_A_WINDOW = 8
"""A chunk of a long prompt is at most 1/8 of the window, so that few cells are freed for it at once."""
DEFAULT_ENGINE = EngineSettings()


@dataclass(frozen=True, slots=True)
class Prepared:
    """The plan for one model with one cache; `cache` has its window padded and its micro-batch fitted to it."""

    path: Path
    model: ModelFacts
    cache: CacheSettings
    slides: tuple[bool, ...]
    """For each layer, from first to last, whether its window slides."""
    capability: Capability
    size: plans.Bytes
    needed_bytes: int
    """How much of it must fit in the free memory: see `needed_bytes`."""
    weights_on: Mapping[str, int]
    """Bytes of weights by device."""
    buffers: tuple[Buffers, ...]
    """The plan by device, the host first; empty where the window is too long to rehearse."""
    scoring: bool
    n_sequences: int
    """Branches of the conversation that the cache can hold at once."""
    log_lines: tuple[str, ...]
    """The lines that llama.cpp must log while loading (chatapp.engine.native.load_log.LINES)."""
    meta: GgufMeta
    asked: CacheRequest
    engine: EngineSettings

    @property
    def n_outputs(self) -> int:
        """Tokens of a batch that may ask for logits."""
        return outputs(self.cache, scoring=self.scoring)

    def planned(self) -> Memory:
        """The plan in the terms of the protocol."""
        return Memory(
            weights_bytes=self.size.weights,
            kv_bytes=self.size.kv,
            kv_swa_bytes=self.size.kv_swa,
            compute_bytes=self.size.compute,
        )

    def largest_window(self, free_bytes: int) -> int:
        """The longest window that fits in `free_bytes` with a margin, in cells; 0 where none does."""
        with DryRun(self.meta, gpu_layers=self.engine.gpu_layers) as dry_run:
            plan = _Planner(dry_run, self.asked, self.engine, self.weights_on, self.scoring, self.n_sequences)
            return plan.largest(free_bytes, plans.MOST_CELLS)

    def takes(self, cache: CacheSettings, *, n_outputs: int, n_sequences: int) -> int:
        """The bytes that must fit for the model with another cache: see `needed_bytes`."""
        with DryRun(self.meta, gpu_layers=self.engine.gpu_layers) as dry_run:
            sizes = dry_run.sizes(cache, self.engine, n_outputs=n_outputs, n_sequences=n_sequences)
        return needed_bytes(self.weights_on, sizes)


def prepare(
    path: Path,
    cache: CacheRequest,
    *,
    scoring: bool = False,
    engine: EngineSettings = DEFAULT_ENGINE,
    free_bytes: int = sys.maxsize,
) -> Prepared:
    """Read the file's metadata, do a dry run, and plan.

    A window that is not set becomes the largest whose plan fits in `free_bytes` with a margin, and no larger than the
    model was trained for; where not even the smallest fits, that one (`check_fits` then says so). Sinks that are not
    set get the default: measuring them takes the model itself (chatapp.engine.sinks.count).

    ModelError for a file that is damaged or that llama.cpp cannot run, UserError for settings that cannot work.
    """
    meta = gguf.read(path)
    with DryRun(meta, gpu_layers=engine.gpu_layers) as dry_run:
        structure = dry_run.structure
        weights_on = weight_placement.by_device(meta, structure.placed)
        n_sequences = 1 if scoring else branches(cache, structure)
        plan = _Planner(dry_run, cache, engine, weights_on, scoring, n_sequences)
        n_ctx = cache.n_ctx if cache.n_ctx is not None else plans.PAD
        capabilities.check_cache(meta, structure, fitted(cache, n_ctx), flash_attention=engine.flash_attention)
        if cache.n_ctx is None:
            n_ctx = max(plans.PAD, plan.largest(free_bytes, structure.n_ctx_train or plans.MOST_CELLS))
        fit = fitted(cache, n_ctx)
        sizes = plan.sizes(fit)
    return Prepared(
        path=path,
        model=capabilities.facts(meta, structure),
        cache=fit,
        slides=structure.slides,
        capability=structs.replace(
            capabilities.capability(
                meta, structure, fit, flash_attention=engine.flash_attention, rotates_keys=sizes.rotates_keys
            ),
            probe=tap.answer(attends=bool(structure.cached), always=engine.probe_always),
        ),
        size=plan.total(sizes),
        needed_bytes=needed_bytes(weights_on, sizes),
        weights_on=weights_on,
        buffers=_buffers(weights_on, sizes),
        scoring=scoring,
        n_sequences=n_sequences,
        log_lines=tuple(lines_of_load(structure)),
        meta=meta,
        asked=cache,
        engine=engine,
    )


def needed_bytes(weights_on: Mapping[str, int], sizes: DryRunSizes) -> int:
    """The bytes that must fit in the free memory: the GPUs' part where they hold every cell, else all of it.

    A model with some layers on the host is compared by its whole size: strict, and safe.
    """
    cards = [each.memory for each in _buffers(weights_on, sizes) if each.device != HOST]
    cells = sum((memory.kv_bytes or 0) + (memory.kv_swa_bytes or 0) for memory in cards)
    if not cells or cells != sizes.kv + (sizes.kv_swa or 0):
        return sum(weights_on.values()) + sizes.kv + (sizes.kv_swa or 0) + sizes.compute
    return cells + sum((memory.weights_bytes or 0) + (memory.compute_bytes or 0) for memory in cards)


def _buffers(weights_on: Mapping[str, int], sizes: DryRunSizes) -> tuple[Buffers, ...]:
    """Weights beside cells and computation."""
    rest = {each.device: each.memory for each in sizes.buffers}
    names = sorted({*rest, *(name for name, size in weights_on.items() if size)}, key=host_first)
    return tuple(
        Buffers(
            device=name, memory=structs.replace(rest.get(name, Memory()), weights_bytes=weights_on.get(name) or None)
        )
        for name in names
        if rest
    )


@dataclass(frozen=True, slots=True)
class _Planner:
    """What a model with the requested cache takes, for any window."""

    dry_run: DryRun
    asked: CacheRequest
    engine: EngineSettings
    weights_on: Mapping[str, int]
    scoring: bool
    n_sequences: int

    def sizes(self, cache: CacheSettings) -> DryRunSizes:
        """The cache and the computation."""
        n_outputs = outputs(cache, scoring=self.scoring)
        return self.dry_run.sizes(cache, self.engine, n_outputs=n_outputs, n_sequences=self.n_sequences)

    def total(self, sizes: DryRunSizes) -> plans.Bytes:
        """The sizes with the weights."""
        weights_bytes = sum(self.weights_on.values())
        return plans.Bytes(weights=weights_bytes, kv=sizes.kv, kv_swa=sizes.kv_swa, compute=sizes.compute)

    def largest(self, free_bytes: int, most: int) -> int:
        """The longest window that fits with a margin, at most `most`, in cells; 0 where none does."""

        def total(cells: int) -> int:
            return needed_bytes(self.weights_on, self.sizes(fitted(self.asked, cells)))

        return plans.largest_window(total, int(free_bytes * MEMORY_MARGIN), most)


def fitted(cache: CacheRequest, n_ctx: int) -> CacheSettings:
    """The settings with the window as llama.cpp pads it, and a micro-batch that fits it."""
    n_ctx = plans.padded(n_ctx)
    micro_batch = max(SMALLEST_MICRO_BATCH, min(cache.micro_batch, n_ctx // MICRO_BATCHES_A_WINDOW))
    values = structs.asdict(cache)
    values.update(n_ctx=n_ctx, micro_batch=micro_batch)
    if cache.sinks is None:
        del values["sinks"]
    return CacheSettings(**values)


def outputs(cache: CacheSettings, *, scoring: bool) -> int:
    """Tokens of a batch that may ask for logits."""
    return cache.micro_batch if scoring else 1


def branches(cache: CacheRequest, structure: ModelStructure) -> int:
    """Branches that the cache can hold: as requested, else two where that takes no more memory.

    A pruned window needs cells of its own for each branch, and a recurrent state is not shared at all.
    """
    if structure.recurrent or structure.hybrid:
        return 1
    pruned = bool(structure.n_swa) and not cache.swa_full
    return cache.live_branches or (1 if pruned else 2)


def runs_on_gpu(engine: EngineSettings) -> bool:
    """True where layers are offloaded to a GPU."""
    return llama.supports_gpu() and engine.gpu_layers != 0


def free_bytes(devices: Sequence[Device], *, gpu: bool) -> int:
    """Memory that a model may take: the GPUs' or the host's."""
    if gpu:
        return sum(device.free_bytes or 0 for device in devices if device.kind in ("gpu", "igpu"))
    return host_memory.available_bytes()


def check_fits(prepared: Prepared, free: int, *, gpu: bool) -> None:
    """UserError, with the numbers and the largest window that fits, where the plan is larger than `free` bytes."""
    size = prepared.size
    if prepared.needed_bytes <= int(free * MEMORY_MARGIN):
        return
    largest = prepared.largest_window(free)
    where = "the GPU" if gpu else "memory"
    there = f", {units.size(prepared.needed_bytes)} of it on the GPU" if prepared.needed_bytes != size.total else ""
    raise UserError(
        f"A window of {prepared.cache.n_ctx} tokens needs {units.size(size.total)} "
        f"({units.size(size.weights)} of weights, {units.size(size.kv + (size.kv_swa or 0))} of KV cache, "
        f"{units.size(size.compute)} of compute buffers){there}; "
        f"{where} has {units.size(free)} free.",
        f"The largest window that fits is --ctx {largest}." if largest else "Not even a window of 256 tokens fits.",
    )
