"""What the window saves: its cells compared with those of a cache that never evicts."""

from collections.abc import Callable
from dataclasses import dataclass

from chatapp.cache.memory_plan import padded
from chatapp.presentation.format import count, size
from chatapp.protocol.events import Loaded, Snapshot
from chatapp.protocol.values import Memory


@dataclass(frozen=True, slots=True)
class Savings:
    """Bytes of KV cells for a conversation of `tokens` tokens so far."""

    tokens: int
    n_ctx: int
    held_bytes: int
    """Of this cache."""
    full_bytes: int
    """Of a cache that holds every token in every layer."""
    unpruned_bytes: int | None
    """Of this window's sliding layers if they were not pruned; None if no layer slides."""
    sliding_bytes: int | None
    """Of the sliding layers as they are."""


def savings(loaded: Loaded, snapshot: Snapshot) -> Savings | None:
    """For the conversation so far; None if the bytes of the cells are not known.

    It counts the tokens in the cache and the evicted ones. A recalled token counts once while it is in the cache, and
    twice when it is evicted again.
    """
    kv, sliding = _known(loaded, lambda memory: memory.kv_bytes), _known(loaded, lambda memory: memory.kv_swa_bytes)
    if kv is None or (loaded.n_ctx_swa is not None and sliding is None):
        return None
    recalled = sum(run.n for run in snapshot.runs if run.kind == "recalled")
    tokens = snapshot.n_used + snapshot.evicted_tokens - recalled
    each = kv / loaded.n_ctx
    each_sliding = sliding / loaded.n_ctx_swa if loaded.n_ctx_swa is not None and sliding is not None else 0.0
    return Savings(
        tokens=tokens,
        n_ctx=loaded.n_ctx,
        held_bytes=kv + (sliding or 0),
        full_bytes=round(max(loaded.n_ctx, padded(tokens)) * (each + each_sliding)),
        unpruned_bytes=round(loaded.n_ctx * each_sliding) if loaded.n_ctx_swa is not None else None,
        sliding_bytes=sliding if loaded.n_ctx_swa is not None else None,
    )


def sentences(saved: Savings) -> list[str]:
    """In words: the window compared with a full cache, and pruned sliding layers with unpruned ones."""
    if saved.tokens > saved.n_ctx:
        full = f"A full cache for {count(saved.tokens)} tokens would take {size(saved.full_bytes)}"
        told = [f"{full}; this one takes {size(saved.held_bytes)}."]
    else:
        told = [f"The whole conversation ({count(saved.tokens)} tokens) still fits: the window saves nothing yet."]
    if saved.unpruned_bytes is not None and saved.sliding_bytes is not None:
        if saved.sliding_bytes < saved.unpruned_bytes:
            told.append(
                f"The sliding layers are pruned to {size(saved.sliding_bytes)}; unpruned they would take"
                f" {size(saved.unpruned_bytes)}."
            )
        else:
            told.append(f"The sliding layers keep every cell: {size(saved.sliding_bytes)}.")
    return told


def _known(loaded: Loaded, component: Callable[[Memory], int | None]) -> int | None:
    """The measured bytes, else the planned ones."""
    measured = component(loaded.measured)
    return component(loaded.planned) if measured is None else measured
