"""Rotary position embedding as llama.cpp computes it: rotate, unrotate, and shift what is already in the cache.

Pair i of a head turns by `position · base^(-2i / n_rot)` radians (Su et al., arXiv 2104.09864), changed by the
scaling that lets a model read further than it was trained for. Formulas: `rope_yarn` in ggml-cpu/ops.cpp and
`ggml_rope_yarn_corr_dims` in ggml.c; they work in float32, this in float64.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kernels.arrays import AnyFloats, Floats, Ints, require

Order = Literal["normal", "neox"]


@dataclass(frozen=True)
class Yarn:
    """YaRN (Peng et al., arXiv 2309.00071): fast pairs keep their turn, slow ones are stretched, between is a ramp."""

    n_ctx_orig: int
    """Tokens of context that the model was first trained with."""
    beta_fast: float = 32.0
    """A pair that turns more often than this over `n_ctx_orig` keeps its turn."""
    beta_slow: float = 1.0
    """A pair that turns less often than this is stretched like linear scaling."""
    ext_factor: float = 1.0
    """Strength of the mix: 1 is YaRN, 0 is linear scaling."""


@dataclass(frozen=True)
class Rope:
    """How one model rotates. The names are those of llama.cpp, where they have one.

    >>> Rope(n_rot=4, base=100.0).angles(np.array([0, 1, 2])).round(3).tolist()
    [[0.0, 0.0], [1.0, 0.1], [2.0, 0.2]]
    >>> Rope(n_rot=4, base=100.0, freq_scale=1 / 4).angles(np.array([4])).round(3).tolist()
    [[1.0, 0.1]]
    """

    n_rot: int
    """How many numbers of each head rotate, the first ones; an even number. The others pass as they are."""
    base: float = 10000.0
    """Theta: the longest wave is about 2π · base tokens."""
    order: Order = "normal"
    """Which numbers make a pair: neighbours (2i, 2i+1), or one from each half (i, i + n_rot/2)."""
    freq_scale: float = 1.0
    """1 / factor, for linear scaling and YaRN."""
    freq_factors: tuple[float, ...] | None = None
    """A divisor for each pair's turn: `llama3_factors`, or the tensor `rope_freqs` of a GGUF."""
    yarn: Yarn | None = None
    attn_factor: float = 1.0
    """A magnitude that the model file asks for (Phi-3's long context); YaRN has its own beside it."""

    def __post_init__(self) -> None:
        require(self.n_rot > 0 and self.n_rot % 2 == 0, f"numbers rotate in pairs: n_rot cannot be {self.n_rot}")
        n_factor = self.n_rot // 2 if self.freq_factors is None else len(self.freq_factors)
        require(n_factor == self.n_rot // 2, f"{self.n_rot // 2} pairs need as many factors, not {n_factor}")

    @property
    def magnitude(self) -> float:
        """What each rotation multiplies the length of a vector by: 1 but for YaRN and `attn_factor`.

        >>> round(Rope(n_rot=4, freq_scale=1 / 4, yarn=Yarn(n_ctx_orig=4096)).magnitude, 3)
        1.139
        """
        if self.yarn is None or self.yarn.ext_factor == 0:
            return self.attn_factor
        return self.attn_factor * (1 + 0.1 * math.log(1 / self.freq_scale))

    def angles(self, positions: Ints) -> Floats:
        """Turn of each pair at each position, in radians: `(n_position, n_rot / 2)`."""
        pair = np.arange(self.n_rot // 2)
        turn = self.base ** (-2 * pair / self.n_rot)
        if self.freq_factors is not None:
            turn = turn / np.array(self.freq_factors)
        stretched = turn * self.freq_scale
        if self.yarn is not None:
            kept = yarn_ramp(self.n_rot, self.base, self.yarn) * self.yarn.ext_factor
            stretched = stretched * (1 - kept) + turn * kept
        return positions[:, np.newaxis] * stretched


def yarn_ramp(n_rot: int, base: float, yarn: Yarn) -> Floats:
    """How much of its own turn each pair keeps, `(n_rot / 2,)`: 1 for the fast pairs, falling to 0 for the slow ones.

    Pair d turns `beta` times over `n_ctx_orig` where `d = n_rot · ln(n_ctx_orig / (2π beta)) / (2 ln base)`.

    >>> yarn_ramp(16, 10000.0, Yarn(n_ctx_orig=4096)).round(3).tolist()
    [1.0, 1.0, 1.0, 0.75, 0.5, 0.25, 0.0, 0.0]
    """

    def pair_that_turns(beta: float) -> float:
        return n_rot * math.log(yarn.n_ctx_orig / (beta * 2 * math.pi)) / (2 * math.log(base))

    low = max(0, math.floor(pair_that_turns(yarn.beta_fast)))
    high = min(n_rot - 1, math.ceil(pair_that_turns(yarn.beta_slow)))
    done = (np.arange(n_rot // 2) - low) / max(0.001, high - low)
    return 1 - np.clip(done, 0, 1)


def llama3_factors(
    n_rot: int,
    base: float = 500000.0,
    *,
    factor: float = 8.0,
    low_freq_factor: float = 1.0,
    high_freq_factor: float = 4.0,
    n_ctx_orig: int = 8192,
) -> tuple[float, ...]:
    """Llama 3's scaling as `freq_factors`: long waves are divided by `factor`, short ones kept, between is a blend.

    This is what convert_hf_to_gguf.py writes into the tensor `rope_freqs`; llama.cpp knows no other form.

    >>> [round(f, 3) for f in llama3_factors(16)]
    [1.0, 1.0, 1.0, 1.0, 2.695, 8.0, 8.0, 8.0]
    """
    factors: list[float] = []
    for pair in range(n_rot // 2):
        wave = 2 * math.pi * base ** (2 * pair / n_rot)
        if wave < n_ctx_orig / high_freq_factor:
            factors.append(1.0)
        elif wave > n_ctx_orig / low_freq_factor:
            factors.append(factor)
        else:
            smooth = (n_ctx_orig / wave - low_freq_factor) / (high_freq_factor - low_freq_factor)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return tuple(factors)


def rotate(x: AnyFloats, positions: Ints, rope: Rope) -> Floats:
    """Queries or keys `(..., n_token, head_dim)` turned to their `positions (n_token,)`, times `rope.magnitude`.

    A quarter turn per position, in each order of pairs:

    >>> quarter = Rope(n_rot=2, freq_factors=(2 / np.pi,))
    >>> rotate(np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([1, 2]), quarter).round(6).tolist()
    [[0.0, 1.0], [-1.0, 0.0]]
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0]])
    >>> rotate(x, np.array([1]), Rope(4, freq_factors=(2 / np.pi, np.inf))).round(6).tolist()
    [[-2.0, 1.0, 3.0, 4.0]]
    >>> rotate(x, np.array([1]), Rope(4, order="neox", freq_factors=(2 / np.pi, np.inf))).round(6).tolist()
    [[-3.0, 2.0, 1.0, 4.0]]
    """
    return rope.magnitude * _turn(x, rope.angles(positions), rope)


def unrotate(x: AnyFloats, positions: Ints, rope: Rope) -> Floats:
    """The inverse of `rotate`, magnitude included (ggml's own `rope_back` multiplies by it once more).

    >>> key, at, rope = np.array([[1.0, 2.0]]), np.array([7]), Rope(n_rot=2)
    >>> unrotate(rotate(key, at, rope), at, rope).round(6).tolist()
    [[1.0, 2.0]]
    """
    return _turn(x, -rope.angles(positions), rope) / rope.magnitude


def shift(x: AnyFloats, deltas: Ints, rope: Rope) -> Floats:
    """Rotated keys `(..., n_token, head_dim)` moved by `deltas (n_token,)` positions, as llama.cpp's K-shift does it.

    It rotates once more, for turns add up: shift(rotate(k, p), d) = rotate(k, p + d). A magnitude does not add up, so
    YaRN's is applied again by each shift, which is why such a cache must not be shifted.

    >>> key, rope = np.array([[1.0, 2.0]]), Rope(n_rot=2)
    >>> np.allclose(shift(rotate(key, np.array([9]), rope), np.array([-4]), rope), rotate(key, np.array([5]), rope))
    True
    """
    return rotate(x, deltas, rope)


def _turn(x: AnyFloats, angles: Floats, rope: Rope) -> Floats:
    """Each pair of each token turned by its angle, `angles (n_token, n_rot / 2)`."""
    require(x.shape[-1] >= rope.n_rot, f"a head of {x.shape[-1]} numbers cannot rotate {rope.n_rot}")
    require(x.shape[-2] == len(angles), f"{x.shape[-2]} tokens need as many positions, not {len(angles)}")
    pair = np.arange(rope.n_rot // 2)
    first, second = (2 * pair, 2 * pair + 1) if rope.order == "normal" else (pair, pair + rope.n_rot // 2)
    turned = x.astype(np.float64)
    a, b = turned[..., first], turned[..., second]
    turned[..., first] = a * np.cos(angles) - b * np.sin(angles)
    turned[..., second] = a * np.sin(angles) + b * np.cos(angles)
    return turned
