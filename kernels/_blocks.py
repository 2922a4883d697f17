"""One layer of a decoder: attention over the cells of a cache, then a feed-forward network or a mixture of experts.

Tokens are rows: `x (n_token, n_embd)`. The order of norms, sums and products is that of llama.cpp's models/*.cpp.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import checks
from kernels.architecture import Architecture
from kernels.arrays import AnyFloats, Bools, Floats, Ints
from kernels.attention import Attended, attend
from kernels.checks import require
from kernels.layers import FeedForward, Linear, rms_norm
from kernels.masks import causal, sliding_window
from kernels.moe import Gate, mix, top_k_gate
from kernels.rope import rotate, shift


class Shelf:
    """The tensors of a model by their names in the GGUF file. Keeps track of which were never used.

    >>> shelf = Shelf({"output.weight": np.eye(2), "output.bias": np.ones(2), "rope_freqs.weight": np.ones(1)})
    >>> shelf.linear("output")(np.array([1.0, 2.0])).tolist(), shelf.left
    ([2.0, 3.0], ['rope_freqs.weight'])
    """

    def __init__(self, tensors: Mapping[str, AnyFloats]) -> None:
        self._tensors = tensors
        self._taken: set[str] = set()

    def take(self, name: str) -> AnyFloats:
        """The tensor. ValueError where there is none."""
        tensor = self.find(name)
        if tensor is None:
            raise ValueError(f"the model has no tensor {name}")
        return tensor

    def find(self, name: str) -> AnyFloats | None:
        """The tensor, or None."""
        if name not in self._tensors:
            return None
        self._taken.add(name)
        return self._tensors[name]

    def linear(self, name: str) -> Linear:
        """The weight of that name with its bias, if it has one."""
        return Linear(self.take(f"{name}.weight"), self.find(f"{name}.bias"))

    @property
    def left(self) -> list[str]:
        """The tensors that were never used, sorted by name."""
        return sorted(set(self._tensors) - self._taken)


@dataclass
class Cells:
    """What one layer has stored, in order of position; all layers hold the same positions."""

    k: NDArray[np.floating[Any]]
    """Keys, rotated to their positions: `(n_head_kv, n_cell, head_dim)`."""
    v: NDArray[np.floating[Any]]
    """Values: `(n_head_kv, n_cell, head_dim)`."""

    def append(self, k: Floats, v: Floats) -> None:
        """Store new cells after the last one, rounded to the type of the cache."""
        self.k = np.concatenate([self.k, k.astype(self.k.dtype)], axis=1)
        self.v = np.concatenate([self.v, v.astype(self.v.dtype)], axis=1)

    def keep(self, kept: Bools) -> None:
        """Forget the cells where `kept (n_cell,)` is False."""
        self.k, self.v = self.k[:, kept], self.v[:, kept]


class Block:
    """Layer `index` of a model: its weights from a shelf, and in `cells` its part of the cache."""

    def __init__(self, model: Architecture, shelf: Shelf, index: int, cache_type: type[np.floating[Any]]) -> None:
        name = f"blk.{index}"
        kind = model.layers[index]
        self._model = model
        self._rope = kind.rope
        self._sees = causal if kind.window is None else partial(sliding_window, window=kind.window)
        self._attn_norm = shelf.take(f"{name}.attn_norm.weight")
        self._q, self._k, self._v = _query_key_value(model, shelf, name)
        self._q_norm, self._k_norm = (shelf.find(f"{name}.attn_{which}_norm.weight") for which in "qk")
        self._sinks = shelf.find(f"{name}.attn_sinks.weight")
        self._attn_output = shelf.linear(f"{name}.attn_output")
        # What Gemma calls the norm after the attention is the one before the experts in gpt-oss.
        oss = model.name == "gpt-oss"
        self._post_attention_norm = None if oss else shelf.find(f"{name}.post_attention_norm.weight")
        self._ffn_norm = shelf.take(f"{name}.post_attention_norm.weight" if oss else f"{name}.ffn_norm.weight")
        self._router = shelf.linear(f"{name}.ffn_gate_inp") if model.n_expert_used else None
        self._networks = _networks(model, shelf, name)
        self._post_ffn_norm = shelf.find(f"{name}.post_ffw_norm.weight")
        none = np.zeros((model.n_head_kv, 0, model.head_dim), dtype=cache_type)
        self.cells = Cells(none, none)

    def shift(self, deltas: Ints) -> None:
        """Rotate the stored keys by `deltas (n_cell,)` positions, as llama.cpp's K-shift does: those that do not move
        are rotated by 0, but still multiplied by a magnitude like YaRN's.
        """
        self.cells.k = shift(self.cells.k, deltas, self._rope).astype(self.cells.k.dtype)

    def __call__(self, x: Floats, queries: Ints, keys: Ints) -> tuple[Floats, Attended, Gate | None]:
        """Tokens at positions `queries (n_token,)`, stored as the last of the cells at `keys (n_cell,)`."""
        eps = self._model.eps
        seen = self._attend(rms_norm(x, self._attn_norm, eps), queries, keys)
        attended = self._attn_output(seen.output.swapaxes(0, 1).reshape(len(x), -1))
        if self._post_attention_norm is not None:
            attended = rms_norm(attended, self._post_attention_norm, eps)
        x = x + attended
        done, gate = self._feed_forward(rms_norm(x, self._ffn_norm, eps))
        if self._post_ffn_norm is not None:
            done = rms_norm(done, self._post_ffn_norm, eps)
        return x + done, seen, gate

    def _attend(self, h: Floats, queries: Ints, keys: Ints) -> Attended:
        model = self._model
        q, k, v = (self._heads(made(h)) for made in (self._q, self._k, self._v))
        if self._q_norm is not None and self._k_norm is not None:
            q, k = rms_norm(q, self._q_norm, model.eps), rms_norm(k, self._k_norm, model.eps)
        self.cells.append(rotate(k, queries, self._rope), v)
        return attend(
            rotate(q, queries, self._rope),
            self.cells.k,
            self.cells.v,
            self._sees(queries, keys),
            scale=model.scale,
            softcap=model.score_cap,
            sink_logits=self._sinks,
        )

    def _heads(self, rows: Floats) -> Floats:
        """`(n_token, n_head * head_dim)` to `(n_head, n_token, head_dim)`."""
        return rows.reshape(len(rows), -1, self._model.head_dim).swapaxes(0, 1)

    def _feed_forward(self, h: Floats) -> tuple[Floats, Gate | None]:
        if self._router is None:
            return self._networks[0](h), None
        gate = top_k_gate(self._router(h), self._model.n_expert_used)
        return mix(h, gate, self._networks), gate


def _query_key_value(model: Architecture, shelf: Shelf, name: str) -> list[Linear]:
    """Three maps, also where the file has them as one (Phi-3)."""
    if (fused := shelf.find(f"{name}.attn_qkv.weight")) is None:
        maps = [shelf.linear(f"{name}.attn_{which}") for which in "qkv"]
        for which, made, n_head in zip("qkv", maps, (model.n_head, model.n_head_kv, model.n_head_kv), strict=True):
            shape = made.weight.shape
            checks.fits(
                f"{name}.attn_{which}.weight", shape, n_head_times_head_dim=n_head * model.head_dim, n_embd=None
            )
        return maps
    n_q, n_kv = model.n_head * model.head_dim, model.n_head_kv * model.head_dim
    require(len(fused) == n_q + 2 * n_kv, f"{name}.attn_qkv has {len(fused)} rows in place of {n_q + 2 * n_kv}")
    return [Linear(rows) for rows in np.split(fused, [n_q, n_q + n_kv])]


def _networks(model: Architecture, shelf: Shelf, name: str) -> list[FeedForward]:
    """The network of the layer, or one for each expert; Phi-3 has the gate in the first half of `up`."""
    if model.n_expert_used:
        gates, ups, downs = (_for_each_expert(shelf, f"{name}.ffn_{which}_exps") for which in ("gate", "up", "down"))
        return [FeedForward(*maps, model.activation) for maps in zip(gates, ups, downs, strict=True)]
    down = shelf.linear(f"{name}.ffn_down")
    if model.name == "phi3":
        gate, up = (Linear(rows) for rows in np.split(shelf.take(f"{name}.ffn_up.weight"), 2))
    else:
        gate, up = shelf.linear(f"{name}.ffn_gate"), shelf.linear(f"{name}.ffn_up")
    return [FeedForward(gate, up, down, model.activation)]


def _for_each_expert(shelf: Shelf, name: str) -> list[Linear]:
    """`(n_expert, n_out, n_in)` and biases `(n_expert, n_out)` as one map for each expert."""
    weights, biases = shelf.take(f"{name}.weight"), shelf.find(f"{name}.bias")
    return [Linear(weight, None if biases is None else biases[i]) for i, weight in enumerate(weights)]
