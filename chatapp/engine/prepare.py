"""Everything that is decided before a weight is loaded: facts, capability, plan, and whether it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from msgspec import structs

from chatapp.cache import plan as plans
from chatapp.engine import capability as capabilities
from chatapp.engine import gguf_meta
from chatapp.engine.protocol import CacheSettings, Capability, Device, Memory, ModelFacts
from chatapp.errors import UserError

MEMORY_MARGIN = 0.95
"""Share of the free memory that a plan may take."""
SMALLEST_MICRO_BATCH = 32
MICRO_BATCHES_A_WINDOW = 8
"""A chunk of a long prompt takes at most this part of the window, so that making room for it leaves most in place."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """One model with one cache. `cache` has its window padded and its micro-batch fitted to the window."""

    path: Path
    model: ModelFacts
    cache: CacheSettings
    capability: Capability
    shape: plans.Shape
    n_outputs: int

    def plan(self) -> plans.Bytes:
        """Bytes by component."""
        cache = self.cache
        return plans.plan(
            self.shape,
            n_ctx=cache.n_ctx,
            micro_batch=cache.micro_batch,
            type_k=cache.type_k,
            type_v=cache.type_v,
            swa_full=cache.swa_full,
            n_outputs=self.n_outputs,
        )

    def planned(self) -> Memory:
        """The plan in the terms of the protocol."""
        size = self.plan()
        return Memory(
            weights_bytes=size.weights,
            kv_bytes=size.kv,
            kv_swa_bytes=size.kv_swa if self.model.n_swa else None,
            compute_bytes=size.compute,
        )

    def largest_window(self, free_bytes: int) -> int:
        """The longest window that fits in `free_bytes` with a margin, in cells; 0 where none does."""
        cache = self.cache
        return plans.largest_window(
            self.shape,
            int(free_bytes * MEMORY_MARGIN),
            micro_batch=cache.micro_batch,
            type_k=cache.type_k,
            type_v=cache.type_v,
            swa_full=cache.swa_full,
            n_outputs=self.n_outputs,
        )


def prepare(path: Path, cache: CacheSettings, *, scoring: bool = False) -> Prepared:
    """Read the file's metadata and decide. ModelError for a damaged file, UserError for settings that cannot work."""
    meta = gguf_meta.read(path)
    model = capabilities.facts(meta)
    capabilities.check_types(cache)
    n_ctx = plans.padded(cache.n_ctx)
    micro_batch = max(SMALLEST_MICRO_BATCH, min(cache.micro_batch, n_ctx // MICRO_BATCHES_A_WINDOW))
    cache = structs.replace(cache, n_ctx=n_ctx, micro_batch=micro_batch)
    return Prepared(
        path=path,
        model=model,
        cache=cache,
        capability=capabilities.capability(model, cache),
        shape=capabilities.shape(meta),
        n_outputs=micro_batch if scoring else 1,
    )


def free_bytes(devices: Sequence[Device], *, gpu: bool) -> int:
    """Memory that a model may take: the GPUs' or the host's."""
    if gpu:
        return sum(device.free_bytes or 0 for device in devices if device.kind in ("gpu", "igpu"))
    return psutil.virtual_memory().available


def check_fits(prepared: Prepared, free: int, *, gpu: bool) -> None:
    """UserError, with the numbers and the largest window that fits, where the plan is larger than `free` bytes."""
    size = prepared.plan()
    if size.total <= int(free * MEMORY_MARGIN):
        return
    largest = prepared.largest_window(free)
    where = "the GPU" if gpu else "memory"
    raise UserError(
        f"A window of {prepared.cache.n_ctx} tokens needs {_gib(size.total)} ({_gib(size.weights)} of weights, "
        f"{_gib(size.kv + size.kv_swa)} of KV cache, {_gib(size.compute)} to compute); {where} has {_gib(free)} free.",
        f"The largest window that fits is --ctx {largest}." if largest else "Not even a window of 256 tokens fits.",
    )


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"
