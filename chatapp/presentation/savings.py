"""What the window saves: its cells against those of a cache that never forgets."""

from dataclasses import dataclass

from chatapp.cache.memory_plan import padded
from chatapp.presentation.format import count, size
from chatapp.protocol.events import Loaded, Snapshot


@dataclass(frozen=True, slots=True)
class Savings:
    """Bytes of KV cells for a conversation of `tokens` so far."""

    tokens: int
    n_ctx: int
    held_bytes: int
    """What this cache has."""
    full_bytes: int
    """What one would have that holds every token, in every layer."""
    unpruned_bytes: int | None
    """What this window's sliding layers would have, were they not pruned; None where no layer slides."""
    sliding_bytes: int | None
    """What they have."""


def savings(loaded: Loaded, snapshot: Snapshot) -> Savings | None:
    """For the conversation so far; None where the bytes of the cells are not known.

    The tokens are those that are there and those that were evicted. One that was recalled counts once while it is
    there, and again when it has left again.
    """
    kv, sliding = _known(loaded, "kv_bytes"), _known(loaded, "kv_swa_bytes")
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
    """In words: the window against a full cache, and pruned sliding layers against whole ones."""
    if saved.tokens > saved.n_ctx:
        full = f"A full cache for {count(saved.tokens)} tokens would be {size(saved.full_bytes)}"
        told = [f"{full}; this is {size(saved.held_bytes)}."]
    else:
        told = [f"The whole conversation, {count(saved.tokens)} tokens, would fit: the window saves nothing yet."]
    if saved.unpruned_bytes is not None and saved.sliding_bytes is not None:
        if saved.sliding_bytes < saved.unpruned_bytes:
            told.append(
                f"Its sliding layers are pruned to {size(saved.sliding_bytes)}; unpruned they would be"
                f" {size(saved.unpruned_bytes)}."
            )
        else:
            told.append(f"Its sliding layers keep every cell: {size(saved.sliding_bytes)}.")
    return told


def _known(loaded: Loaded, component: str) -> int | None:
    """As measured, else as planned."""
    measured: int | None = getattr(loaded.measured, component)
    planned: int | None = getattr(loaded.planned, component)
    return planned if measured is None else measured
