"""How far a kernel in float32 may lie from the reference: a measure that comes from rounding, not from taste."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import attend
from kernels.arrays import Bools

EPS = float(np.finfo(np.float32).eps)


def naive(
    q: NDArray[Any], k: NDArray[Any], v: NDArray[Any], mask: Bools, scale: float, softcap: float | None, sinks: Any
) -> NDArray[np.float32]:
    """Attention as one would write it down, each step in float32."""
    q, k, v = (part.astype(np.float32) for part in (q, k, v))
    k, v = (np.repeat(part, len(q) // len(part), axis=0) for part in (k, v))
    scores = np.float32(scale) * (q @ k.swapaxes(1, 2))
    if softcap is not None:
        scores = np.float32(softcap) * np.tanh(scores / np.float32(softcap))
    scores = np.where(mask, scores, np.float32(-np.inf))
    extra = np.full((len(q), 1, 1), -np.inf) if sinks is None else sinks[:, np.newaxis, np.newaxis]
    scores = np.concatenate([scores, np.broadcast_to(extra, (*scores.shape[:2], 1)).astype(np.float32)], axis=2)
    top = scores.max(axis=2, keepdims=True)
    weights = np.exp(scores - np.where(np.isfinite(top), top, 0))
    total = weights.sum(axis=2, keepdims=True)
    return ((weights / np.where(total > 0, total, np.float32(1)))[..., :-1] @ v).astype(np.float32)


def assert_as_exact_as_naive(
    out: NDArray[Any],
    q: NDArray[Any],
    k: NDArray[Any],
    v: NDArray[Any],
    mask: Bools,
    *,
    scale: float,
    softcap: float | None = None,
    sinks: NDArray[Any] | None = None,
) -> None:
    """error <= 2 · (error of the naive float32) + rounding of the largest value, as flash-attention's tests have it."""
    exact = attend(q, k, v, mask, scale=scale, softcap=softcap, sink_logits=sinks).output
    naive_error = np.abs(naive(q, k, v, mask, scale, softcap, sinks) - exact).max(initial=0)
    error = np.abs(out - exact).max(initial=0)
    assert error <= 2 * naive_error + 2 * EPS * np.abs(v).max(initial=0)
