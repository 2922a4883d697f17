"""Everything that is decided before a weight is loaded: facts, capability, plan, and whether it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec import structs

from chatapp.cache import plan as plans
from chatapp.engine import capability as capabilities
from chatapp.engine import gguf_meta, llama, weights
from chatapp.engine.gguf_meta import GgufMeta
from chatapp.engine.protocol import CacheSettings, Capability, Device, EngineSettings, Memory, ModelFacts
from chatapp.engine.rehearsal import Rehearsal
from chatapp.errors import UserError

MEMORY_MARGIN = 0.95
"""Share of the free memory that a plan may take."""
SMALLEST_MICRO_BATCH = 32
MICRO_BATCHES_A_WINDOW = 8
"""A chunk of a long prompt takes at most this part of the window, so that making room for it leaves most in place."""
DEFAULT_ENGINE = EngineSettings()


@dataclass(frozen=True, slots=True)
class Prepared:
    """One model with one cache. `cache` has its window padded and its micro-batch fitted to the window."""

    path: Path
    model: ModelFacts
    cache: CacheSettings
    slides: tuple[bool, ...]
    """For each layer, from first to last, whether its window slides."""
    capability: Capability
    size: plans.Bytes
    n_outputs: int
    meta: GgufMeta
    asked: CacheSettings
    engine: EngineSettings

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
        with Rehearsal(self.meta, gpu_layers=self.engine.gpu_layers) as rehearsal:

            def total(cells: int) -> int:
                cache = fitted(structs.replace(self.asked, n_ctx=cells))
                sizes = rehearsal.sizes(cache, self.engine, n_outputs=min(self.n_outputs, cache.micro_batch))
                return self.size.weights + sizes.kv + (sizes.kv_swa or 0) + sizes.compute

            return plans.largest_window(total, int(free_bytes * MEMORY_MARGIN))


def prepare(
    path: Path, cache: CacheSettings, *, scoring: bool = False, engine: EngineSettings = DEFAULT_ENGINE
) -> Prepared:
    """Read the file's metadata, rehearse and decide.

    ModelError for a file that is damaged or that llama.cpp could not run, UserError for settings that cannot work.
    """
    meta = gguf_meta.read(path)
    asked, cache = cache, fitted(cache)
    n_outputs = cache.micro_batch if scoring else 1
    with Rehearsal(meta, gpu_layers=engine.gpu_layers) as rehearsal:
        anatomy = rehearsal.anatomy
        capabilities.check_cache(meta, anatomy, cache, flash_attention=engine.flash_attention)
        sizes = rehearsal.sizes(cache, engine, n_outputs=n_outputs)
    on_gpu = llama.supports_gpu() and engine.gpu_layers != 0
    return Prepared(
        path=path,
        model=capabilities.facts(meta, anatomy),
        cache=cache,
        slides=anatomy.slides,
        capability=capabilities.capability(
            meta, anatomy, cache, flash_attention=engine.flash_attention, rotates_keys=sizes.rotates_keys
        ),
        size=plans.Bytes(
            weights=sum(part.tensor_bytes for part in gguf_meta.parts(meta)) if on_gpu else weights.cpu_bytes(meta),
            kv=sizes.kv,
            kv_swa=sizes.kv_swa,
            compute=sizes.compute,
        ),
        n_outputs=n_outputs,
        meta=meta,
        asked=asked,
        engine=engine,
    )


def fitted(cache: CacheSettings) -> CacheSettings:
    """The settings with the window as llama.cpp pads it, and a micro-batch that fits it."""
    n_ctx = plans.padded(cache.n_ctx)
    micro_batch = max(SMALLEST_MICRO_BATCH, min(cache.micro_batch, n_ctx // MICRO_BATCHES_A_WINDOW))
    return structs.replace(cache, n_ctx=n_ctx, micro_batch=micro_batch)


def free_bytes(devices: Sequence[Device], *, gpu: bool) -> int:
    """Memory that a model may take: the GPUs' or the host's."""
    if gpu:
        return sum(device.free_bytes or 0 for device in devices if device.kind in ("gpu", "igpu"))
    return psutil.virtual_memory().available


def check_fits(prepared: Prepared, free: int, *, gpu: bool) -> None:
    """UserError, with the numbers and the largest window that fits, where the plan is larger than `free` bytes."""
    size = prepared.size
    if size.total <= int(free * MEMORY_MARGIN):
        return
    largest = prepared.largest_window(free)
    where = "the GPU" if gpu else "memory"
    raise UserError(
        f"A window of {prepared.cache.n_ctx} tokens needs {_gib(size.total)} ({_gib(size.weights)} of weights, "
        f"{_gib(size.kv + (size.kv_swa or 0))} of KV cache, {_gib(size.compute)} to compute); "
        f"{where} has {_gib(free)} free.",
        f"The largest window that fits is --ctx {largest}." if largest else "Not even a window of 256 tokens fits.",
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
