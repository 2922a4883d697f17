"""Influence curves of long stacks: the recurrence of `kernels.reach`, in time that does not grow with the window."""

from collections.abc import Sequence

import numpy as np

from kernels import checks
from kernels import reach as slow
from kernels.arrays import Floats
from kernels.fast.fallback import fast_or_warn


def influence(layers: int, window: int, alpha: float = 0.0) -> Floats:
    """`kernels.influence`, in steps of layers · tokens where the reference takes layers · tokens · window.

    Nothing is subtracted on the way here either. Without Numba the reference is used, after a `NumbaMissing` warning.

    >>> (influence(layers=2, window=3) * 9).round(6).tolist()
    [1.0, 2.0, 3.0, 2.0, 1.0]
    """
    if not fast_or_warn():
        return slow.influence(layers, window, alpha)
    checks.stack(layers, window, alpha)
    p = slow.influence(0, window, alpha)
    for _ in range(layers):
        spread = _window_sums(p, window, len(p) + window - 1) * ((1 - alpha) / window)
        spread[: len(p)] += alpha * p
        p = spread
    return p


def influence_in_context(n_token: int, windows: Sequence[int | None], alpha: float = 0.0) -> Floats:
    """`kernels.influence_in_context`, likewise: a global layer costs no more than a window of one token.

    >>> influence_in_context(6, windows=[3, None]).round(3).tolist()
    [0.056, 0.111, 0.167, 0.167, 0.194, 0.306]
    """
    if not fast_or_warn():
        return slow.influence_in_context(n_token, windows, alpha)
    windows = checks.stack_in_context(n_token, windows, alpha)
    p = slow.influence_in_context(n_token, [], alpha)  # by distance from the last token
    for size in reversed(windows):
        window = n_token if size is None else min(size, n_token)
        seen = np.minimum(n_token - np.arange(n_token), window)
        p = alpha * p + _window_sums((1 - alpha) * p / seen, window, n_token)
    return p


def _window_sums(p: Floats, window: int, n_out: int) -> Floats:
    from kernels.fast.jit.compiler import threads_for
    from kernels.fast.jit.spread import window_sums

    out = np.empty(n_out)
    with threads_for(n_out):
        window_sums(p, window, out)
    return out
