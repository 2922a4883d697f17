"""What comes between two attentions: norms, linear maps, activations, and feed-forward networks with one gate.

Tokens are rows: `x (..., n_in)`. Weights are `(n_out, n_in)`, as a GGUF has them, and stay in the type that they come
in: float64 would double a model's memory, so each is converted where it is used, a part at a time. No tokens are fine;
ValueError for maps and rows that do not fit each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Floats

Activation: TypeAlias = Callable[[Floats, Floats], Floats]
"""The activation of a feed-forward network: from `(gate, up)` to hidden numbers of the same shape."""
PART: Final = 1 << 24
"""Numbers of a weight that are converted at once: 128 MiB in float64."""


@dataclass(frozen=True)
class Linear:
    """x Wᵀ + b, computed in float64.

    >>> double_and_add = Linear(weight=np.array([[2.0, 0.0], [1.0, 1.0]]), bias=np.array([0.5, 0.0]))
    >>> double_and_add(np.array([[1.0, 3.0]])).tolist()
    [[2.5, 4.0]]
    """

    weight: AnyFloats
    """`(n_out, n_in)`."""
    bias: AnyFloats | None = None
    """`(n_out,)`."""

    def __post_init__(self) -> None:
        checks.floats("weight", self.weight)
        checks.fits("weight", self.weight.shape, n_out=None, n_in=None)
        checks.require(
            self.weight.size > 0, f"weight must be (n_out, n_in) with at least 1 each, not {self.weight.shape}"
        )
        if self.bias is not None:
            checks.floats("bias", self.bias)
            checks.fits("bias", self.bias.shape, n_out=len(self.weight))

    def __call__(self, x: Floats) -> Floats:
        """`(..., n_in)` to `(..., n_out)`."""
        n_out, n_in = self.weight.shape
        checks.require(checks.row_of("x", x) == n_in, f"x must be (..., n_in = {n_in}), not {x.shape}")
        rows = max(1, PART // n_in)
        parts = [x @ self.weight[at : at + rows].astype(np.float64).T for at in range(0, n_out, rows)]
        product = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return product if self.bias is None else product + self.bias


def rms_norm(x: AnyFloats, weight: AnyFloats, eps: float) -> Floats:
    """x / √(mean(x²) + eps) · weight, over the last axis (Zhang and Sennrich, arXiv 1910.07467, equation 4).

    `weight (n,)` for `x (..., n)`. With an `eps` of 0, zeros stay zeros.

    >>> rms_norm(np.array([[3.0, 4.0]]), np.array([1.0, 2.0]), eps=0.0).round(3).tolist()
    [[0.849, 2.263]]
    """
    n = checks.row_of("x", x)
    checks.floats("weight", weight)
    checks.fits("weight", weight.shape, n=n)
    checks.real("eps", eps, 0)
    wide = x.astype(np.float64)
    length = np.sqrt((wide**2).mean(axis=-1, keepdims=True) + eps)
    return wide / np.where(length == 0, 1.0, length) * weight


def swiglu(gate: Floats, up: Floats) -> Floats:
    """silu(gate) · up, where silu(x) = x / (1 + exp(-x)) (Shazeer, arXiv 2002.05202): Llama, Mixtral, Phi-3.

    >>> swiglu(np.array([0.0, 1.0, -1.0]), np.array([5.0, 2.0, 2.0])).round(3).tolist()
    [0.0, 1.462, -0.538]
    """
    _alike(gate, up)
    return gate * _sigmoid(gate) * up


def geglu(gate: Floats, up: Floats) -> Floats:
    """gelu(gate) · up, gelu by its tanh form: x/2 · (1 + tanh(√(2/π) (x + 0.044715 x³))): Gemma.

    >>> geglu(np.array([0.0, 1.0, -1.0]), np.array([5.0, 2.0, 2.0])).round(3).tolist()
    [0.0, 1.682, -0.318]
    """
    _alike(gate, up)
    return gate / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (gate + 0.044715 * gate**3))) * up


def swiglu_oai(gate: Floats, up: Floats) -> Floats:
    """gpt-oss's: x / (1 + exp(-1.702 x)) · (y + 1), with x at most 7 and y between -7 and 7.

    >>> swiglu_oai(np.array([0.0, 1.0, 9.0]), np.array([5.0, 0.0, -9.0])).round(3).tolist()
    [0.0, 0.846, -42.0]
    """
    _alike(gate, up)
    x, y = np.minimum(gate, 7), np.clip(up, -7, 7)
    return x * _sigmoid(1.702 * x) * (y + 1)


@dataclass(frozen=True)
class FeedForward:
    """down(activation(gate(x), up(x))): the network of a layer, or one expert of several.

    ValueError unless gate and up are of one shape, and down takes what they give.

    >>> same = Linear(np.eye(2))
    >>> FeedForward(gate=same, up=same, down=same, activation=swiglu)(np.array([[1.0, 2.0]])).round(3).tolist()
    [[0.731, 3.523]]
    """

    gate: Linear
    up: Linear
    down: Linear
    activation: Activation

    def __post_init__(self) -> None:
        n_hidden, n_in = self.gate.weight.shape
        checks.fits("the weight of up", self.up.weight.shape, n_hidden=n_hidden, n_in=n_in)
        checks.fits("the weight of down", self.down.weight.shape, n_out=None, n_hidden=n_hidden)

    def __call__(self, x: Floats) -> Floats:
        """`(..., n_embd)` to the same shape."""
        return self.down(self.activation(self.gate(x), self.up(x)))


def _alike(gate: Floats, up: Floats) -> None:
    """ValueError unless each number of the gate has one of up."""
    checks.floats("gate", gate)
    checks.floats("up", up)
    checks.require(gate.shape == up.shape, f"up must have the shape of gate, {gate.shape}, not {up.shape}")


def _sigmoid(x: Floats) -> Floats:
    small = np.exp(-np.abs(x))  # never above 1, so that nothing overflows
    return np.where(x >= 0, 1.0, small) / (1 + small)
