"""How far back a stack of sliding windows sees: not layers times window.

Each layer attends evenly to its window of W tokens, including the token itself. The influence of the token d places
before is then a distribution over d, and each layer spreads it further. A residual of weight alpha passes it on as is:

    P_0(d) = 1 at d = 0        P_l(d) = alpha · P_(l-1)(d) + (1 - alpha) / W · sum over j < W of P_(l-1)(d - j)

Xiao, "Why Stacking Sliding Windows Can't See Very Far"; alpha = 0 is its case 1, alpha near 1 its case 2. Distances
and ranges are in tokens. Real attention is not even: this is the geometry of the mask, not a measurement.
"""

import math
from collections.abc import Sequence

import numpy as np

from kernels import checks
from kernels.arrays import Floats

ROUNDING = 1e-12
"""Relative error that the sums of a long curve may have gathered."""


def influence(layers: int, window: int, alpha: float = 0.0) -> Floats:
    """P(d) after `layers` layers, by the recurrence: `(layers · (window - 1) + 1,)`, summing to 1.

    Nothing is subtracted on the way, so the smallest values are as exact as the largest.

    >>> (influence(layers=2, window=3) * 9).round(6).tolist()
    [1.0, 2.0, 3.0, 2.0, 1.0]
    >>> influence(layers=1, window=4, alpha=0.5).tolist()
    [0.625, 0.125, 0.125, 0.125]
    """
    checks.stack(layers, window, alpha)
    even = np.full(window, 1 / window)
    p = np.ones(1)
    for _ in range(layers):
        spread = (1 - alpha) * np.convolve(p, even)
        spread[: len(p)] += alpha * p
        p = spread
    return p


def influence_in_context(n_token: int, windows: Sequence[int | None], alpha: float = 0.0) -> Floats:
    """The influence of each distance on the last of `n_token` cached tokens: `(n_token,)`, summing to 1.

    `windows` has the layers from first to last, None for a global one, which attends evenly to everything cached: one
    of them carries influence where no stack of windows reaches. Tokens near the beginning see fewer than W and give
    each more. This is the last row of the product of all layers, each `alpha · I + (1 - alpha) · (mask, rows summing to
    1)`.

    >>> influence_in_context(6, windows=[3, 3]).round(3).tolist()
    [0.111, 0.222, 0.333, 0.222, 0.111, 0.0]
    >>> influence_in_context(6, windows=[3, None]).round(3).tolist()
    [0.056, 0.111, 0.167, 0.167, 0.194, 0.306]
    """
    windows = checks.stack_in_context(n_token, windows, alpha)
    row = np.zeros(n_token)  # by place in the cache; the last token comes last
    row[-1] = 1.0
    for size in reversed(windows):
        window = n_token if size is None else min(size, n_token)
        seen = np.minimum(np.arange(1, n_token + 1), window)
        share = (1 - alpha) * row / seen
        # Place i gets the share of each of the `window` places from i on that look at it, of a global layer's all.
        sums = np.cumsum(share[::-1])[::-1] if window == n_token else np.convolve(share, np.ones(window))[window - 1 :]
        row = alpha * row + sums[:n_token]
    return row[::-1]


def range_tokens(p: Floats, eps: float) -> int:
    """The smallest range R with P(distance >= R) <= eps, in tokens: at most `eps` of the influence lies at R or beyond.

    So the R distances 0 .. R-1 hold at least 1 - eps of it. `eps` may be as small as a float can be: the tail is summed
    from its far end. A tail that equals `eps` but for rounding counts as equal.

    >>> range_tokens(np.array([0.5, 0.25, 0.125, 0.125]), eps=0.25)
    2
    >>> range_tokens(np.array([0.5, 0.25, 0.125, 0.125]), eps=0.0)
    4
    """
    checks.floats("p", p)
    checks.fits("p", p.shape, n_distance=None)
    checks.real("eps", eps, 0, 1)
    tail = np.append(np.cumsum(p[::-1])[::-1], 0.0)
    return int(np.argmax(tail <= eps * (1 + ROUNDING)))


def exact_tokens(layers: int, window: int, alpha: float, eps: float) -> int:
    """The range of `range_tokens` under the exact recurrence. It grows with depth, unlike the exponential bound.

    >>> exact_tokens(layers=24, window=100, alpha=0.9, eps=0.01), exact_tokens(36, 100, 0.9, 0.01)
    (361, 466)
    """
    return range_tokens(influence(layers, window, alpha), eps)


def reachable_tokens(layers: int, window: int) -> int:
    """The tokens that can have any influence at all, itself included: `layers · (window - 1) + 1`.

    The receptive field. Each layer adds W - 1 tokens; the order is layers times window, and most of it is nearly 0.

    >>> reachable_tokens(layers=32, window=4096)
    131041
    """
    checks.stack(layers, window)
    return int(layers) * (int(window) - 1) + 1


def gaussian_std_tokens(layers: int, window: int) -> float:
    """Standard deviation of the distance without a residual: √(L (W² - 1) / 12), about 0.29 W √L.

    A spread of two of these, 0.58 W √L, is what the blog post calls the effective range of case 1; it lies around a
    mean distance of L (W - 1) / 2.

    >>> round(gaussian_std_tokens(layers=24, window=128), 1)
    181.0
    """
    checks.stack(layers, window)
    return math.sqrt(int(layers) * (int(window) ** 2 - 1) / 12)


def gaussian(layers: int, window: int) -> Floats:
    """The normal density that `influence(layers, window)` tends to, at each of its distances, by the same shape.

    >>> gaussian(layers=4, window=3).round(3).tolist()
    [0.012, 0.045, 0.115, 0.203, 0.244, 0.203, 0.115, 0.045, 0.012]
    >>> influence(layers=4, window=3).round(3).tolist()
    [0.012, 0.049, 0.123, 0.198, 0.235, 0.198, 0.123, 0.049, 0.012]
    """
    std = gaussian_std_tokens(layers, window)
    checks.require(std > 0, "without layers, or with a window of one token, nothing moves: there is no spread")
    distance = np.arange(layers * (window - 1) + 1)
    mean = layers * (window - 1) / 2
    return np.exp(-0.5 * ((distance - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))


def exponential(window: int, alpha: float, distances: Floats) -> Floats:
    """The bound with a residual, up to its constant: `(1 - alpha)^(d / W)` at each of `distances`.

    >>> exponential(window=100, alpha=0.9, distances=np.array([0.0, 100.0, 200.0])).round(6).tolist()
    [1.0, 0.1, 0.01]
    """
    checks.bound(window, alpha)
    checks.floats("distances", distances)
    return (1 - alpha) ** (distances / window)


def exponential_tokens(window: int, alpha: float, eps: float) -> float:
    """Where the exponential bound falls to `eps`: W ln(eps) / ln(1 - alpha), the same for any depth.

    (Often written 4.6 W / ln(1 - alpha), which is negative.)

    >>> round(exponential_tokens(window=100, alpha=0.95, eps=0.01)), round(exponential_tokens(100, 0.9, 0.01))
    (154, 200)
    """
    checks.bound(window, alpha)
    checks.real("eps", eps, most=1, above=0)
    return window * math.log(eps) / math.log1p(-alpha)
