"""Rotary position embedding as llama.cpp computes it: rotate, unrotate, and shift what is already in the cache.

Pair i of a head turns by `position · base^(-2i / n_rot)` radians (Su et al., arXiv 2104.09864), changed by the
scaling that lets a model read further than it was trained for. Formulas: `rope_yarn` in ggml-cpu/ops.cpp and
`ggml_rope_yarn_corr_dims` in ggml.c; they work in float32, this in float64.
"""

import math
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Floats, Ints

Order = Literal["normal", "neox"]


@dataclass(frozen=True)
class Yarn:
    """YaRN (Peng et al., arXiv 2309.00071): fast pairs keep their turn, slow ones are stretched, between is a ramp.

    ValueError for a context without a token, turns that are not above 0, and a strength that is not from 0 to 1.
    """

    n_ctx_orig: int
    """Tokens of context that the model was first trained with."""
    beta_fast: float = 32.0
    """A pair that turns more often than this over `n_ctx_orig` keeps its turn."""
    beta_slow: float = 1.0
    """A pair that turns less often than this is stretched like linear scaling."""
    ext_factor: float = 1.0
    """Strength of the mix: 1 is YaRN, 0 is linear scaling."""

    def __post_init__(self) -> None:
        checks.count("n_ctx_orig", self.n_ctx_orig, 1)
        checks.real("beta_fast", self.beta_fast, above=0)
        checks.real("beta_slow", self.beta_slow, above=0)
        checks.real("ext_factor", self.ext_factor, 0, 1)


@dataclass(frozen=True)
class Rope:
    """How one model rotates. The names are those of llama.cpp, where they have one.

    ValueError for an odd or empty `n_rot`, a base of 1 or less, an order that does not exist, scales and factors that
    are not above 0, and YaRN with a scale so large that nothing would be left of a vector.

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
        _pairs(self.n_rot, self.base)
        checks.choice("order", self.order, get_args(Order))
        checks.real("freq_scale", self.freq_scale, above=0)
        checks.real("attn_factor", self.attn_factor, above=0)
        if self.freq_factors is not None:
            checks.fits("freq_factors", (len(self.freq_factors),), n_pair=self.n_rot // 2)
            positive = all(factor > 0 for factor in self.freq_factors)
            checks.require(positive, f"freq_factors must be above 0, not {self.freq_factors}")
        checks.require(self.magnitude > 0, f"freq_scale must leave YaRN a magnitude above 0, not {self.magnitude:g}")

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
        positions = checks.integers("positions", positions, n_position=None)
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
    _pairs(n_rot, base)

    def pair_that_turns(beta: float) -> float:
        turns = math.log(yarn.n_ctx_orig) - math.log(beta) - math.log(2 * math.pi)
        return min(max(n_rot * turns / (2 * math.log(base)), -n_rot), 2 * n_rot)  # beyond, nothing changes

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
    _pairs(n_rot, base)
    checks.real("factor", factor, above=0)
    checks.real("low_freq_factor", low_freq_factor, above=0)
    checks.real("high_freq_factor", high_freq_factor, above=low_freq_factor)
    checks.count("n_ctx_orig", n_ctx_orig, 1)
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

    ValueError for heads of fewer than `n_rot` numbers, and for positions that are not one integer for each token.

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
    return rope.magnitude * _turn(x, positions, rope, "positions")


def unrotate(x: AnyFloats, positions: Ints, rope: Rope) -> Floats:
    """The inverse of `rotate`, magnitude included (ggml's own `rope_back` multiplies by it once more).

    >>> key, at, rope = np.array([[1.0, 2.0]]), np.array([7]), Rope(n_rot=2)
    >>> unrotate(rotate(key, at, rope), at, rope).round(6).tolist()
    [[1.0, 2.0]]
    """
    return _turn(x, positions, rope, "positions", back=True) / rope.magnitude


def shift(x: AnyFloats, deltas: Ints, rope: Rope) -> Floats:
    """Rotated keys `(..., n_token, head_dim)` moved by `deltas (n_token,)` positions, as llama.cpp's K-shift does it.

    It rotates once more, for turns add up: shift(rotate(k, p), d) = rotate(k, p + d). A magnitude does not add up, so
    YaRN's is applied again by each shift, which is why such a cache must not be shifted.

    >>> key, rope = np.array([[1.0, 2.0]]), Rope(n_rot=2)
    >>> np.allclose(shift(rotate(key, np.array([9]), rope), np.array([-4]), rope), rotate(key, np.array([5]), rope))
    True
    """
    return rope.magnitude * _turn(x, deltas, rope, "deltas")


def _pairs(n_rot: int, base: float) -> None:
    """ValueError unless `n_rot` numbers make pairs, whose turns are slower and slower."""
    checks.count("n_rot", n_rot, 2)
    checks.require(n_rot % 2 == 0, f"n_rot must be even, for numbers rotate in pairs, not {n_rot}")
    checks.real("base", base, above=1)


def _turn(x: AnyFloats, positions: Ints, rope: Rope, name: str, *, back: bool = False) -> Floats:
    """Each pair of each token turned by its angle, or back; the positions are the argument `name`."""
    checks.floats("x", x)
    if x.ndim < 2 or x.shape[-1] < rope.n_rot:
        raise ValueError(f"x must be (..., n_token, head_dim) with head_dim at least {rope.n_rot}, not {x.shape}")
    angles = rope.angles(checks.integers(name, positions, n_token=x.shape[-2]))
    angles = -angles if back else angles
    pair = np.arange(rope.n_rot // 2)
    first, second = (2 * pair, 2 * pair + 1) if rope.order == "normal" else (pair, pair + rope.n_rot // 2)
    turned = x.astype(np.float64)
    a, b = turned[..., first], turned[..., second]
    turned[..., first] = a * np.cos(angles) - b * np.sin(angles)
    turned[..., second] = a * np.sin(angles) + b * np.cos(angles)
    return turned
