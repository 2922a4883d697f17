"""A whole decoder on the reference kernels: from a GGUF file, tokens and evictions to exact logits.

An engine is tested against it: the same history, computed slowly and in float64. Its cache is a list of cells, each
with a position, and it can do to them what llama.cpp's cache can: forget a range of positions (`remove`), renumber the
rest by rotating the stored keys once more (`renumber`), and be rebuilt (`rebuild`). The keys and values of a kept
cell were computed while the evicted ones were still visible, here as there.

A layer with a sliding window looks at the positions p - n_swa < j <= p and at nothing else, so it does not matter here
whether an engine has dropped the older ones, as long as none of these were dropped.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, Self

import numpy as np

from kernels import checks
from kernels._blocks import Block, Shelf
from kernels.architecture import FREQS, LONG, SHORT, read_architecture
from kernels.arrays import AnyFloats, Floats, Ints
from kernels.checks import require
from kernels.layers import Linear, rms_norm
from kernels.moe import Gate
from kernels.quant import Gguf


@dataclass(frozen=True)
class Seen:
    """What one layer did in the last decode."""

    positions: Ints
    """The position of each cell that the weights are for: `(n_cell,)`, 0 to the last one where nothing was evicted."""
    weights: Floats
    """How much the last token attended to each cell: `(n_head, n_cell)`; 0 outside its window."""
    sink: Floats
    """What a learned sink took of that attention: `(n_head,)`; 0 where the layer has none."""
    residual_norms: Floats
    """Norm of each new token's output of the layer, `(n_token,)`: huge where a token serves as a sink."""
    gate: Gate | None
    """The experts of each new token; None in a layer without experts."""


class Decoder:
    """A model and its cache.

    `positions (n_cell,)` and `tokens (n_cell,)` say what the cache holds, `seen[layer]` what the last decode attended
    to.

    One layer that adds nothing, so that a token predicts the token whose embedding is most like its own:

    >>> shape = {"block_count": 1, "embedding_length": 2, "context_length": 8, "attention.head_count": 1,
    ...     "attention.layer_norm_rms_epsilon": 0.0}
    >>> weights = {"token_embd.weight": np.array([[1.0, 0.0], [0.0, 1.0]]), "output_norm.weight": np.ones(2)}
    >>> weights |= {f"blk.0.{name}_norm.weight": np.ones(2) for name in ("attn", "ffn")}
    >>> names = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    >>> weights |= {f"blk.0.{name}.weight": np.zeros((2, 2)) for name in names}
    >>> tiny = Decoder({"general.architecture": "llama"} | {f"llama.{key}": shape[key] for key in shape}, weights)
    >>> tiny.decode([0, 1, 1]).round(3).tolist()
    [[1.414, 0.0], [0.0, 1.414], [0.0, 1.414]]
    >>> tiny.seen[0].weights.round(3).tolist()
    [[0.333, 0.333, 0.333]]

    The first of these is evicted and the others are renumbered; the next token comes after them:

    >>> tiny.remove(0, 1)
    >>> tiny.renumber(1, -1)
    >>> tiny.decode([0]).round(3).tolist(), tiny.positions.tolist(), tiny.tokens.tolist()
    ([[1.414, 0.0]], [0, 1, 2], [1, 1, 0])
    """

    def __init__(
        self,
        metadata: Mapping[str, Any],
        weights: Mapping[str, AnyFloats],
        *,
        n_ctx: int | None = None,
        cache_type: type[np.floating[Any]] = np.float64,
    ) -> None:
        """`n_ctx` as in `read_architecture`; keys and values are rounded to `cache_type` when they are stored.

        ValueError for an architecture that is not covered, for weights that are missing, and for weights that would
        not be used: a result without them cannot be exact.
        """
        shelf = Shelf(weights)
        self.architecture = read_architecture(metadata, weights, n_ctx=n_ctx)
        self._embeddings = shelf.take("token_embd.weight")
        self._blocks = [
            Block(self.architecture, shelf, layer, cache_type) for layer in range(len(self.architecture.layers))
        ]
        self._norm = shelf.take("output_norm.weight")
        output = shelf.find("output.weight")
        self._output = Linear(self._embeddings if output is None else output, shelf.find("output.bias"))
        left = [name for name in shelf.left if name not in (FREQS, LONG, SHORT)]
        require(not left, f"the decoder cannot use {', '.join(left[:3])} of this {self.architecture.name}")
        self.positions: Ints = np.zeros(0, dtype=np.int64)
        self.tokens: Ints = np.zeros(0, dtype=np.int64)
        self.seen: tuple[Seen, ...] = ()
        self._moved: Ints | None = None

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        n_ctx: int | None = None,
        cache_type: type[np.floating[Any]] = np.float64,
    ) -> Self:
        """The model of a GGUF file, its weights in float32. Errors also those of `Gguf`."""
        file = Gguf(path)
        return cls(file.metadata, file, n_ctx=n_ctx, cache_type=cache_type)

    @property
    def next_position(self) -> int:
        """The position of the next token: after the last cell."""
        return int(self.positions[-1]) + 1 if len(self.positions) else 0

    def decode(self, tokens: Sequence[int], at: int | None = None, *, n_output: int | None = None) -> Floats:
        """Logits of the last `n_output` tokens, all by default: `(n_output, n_vocab)`. The tokens stay in the cache.

        The first of them gets position `at`, the next one by default, the others follow it. In how many calls
        a text is decoded makes no difference. ValueError for no token, for one that is not in the vocabulary, for more
        outputs than tokens, and for a position that is not after all others.
        """
        new = np.array([_whole(f"tokens[{i}]", token) for i, token in enumerate(tokens)], dtype=np.int64)
        first = self.next_position if at is None else _whole("at", at)
        wanted = len(new) if n_output is None else checks.count("n_output", n_output)
        require(len(new) > 0, "there is no token to decode")
        require(wanted <= len(new), f"{len(new)} tokens have no {wanted} outputs")
        require(bool(((new >= 0) & (new < len(self._embeddings))).all()), "there are tokens beyond the vocabulary")
        require(first >= self.next_position, f"position {first} is not after {self.next_position - 1}, the last one")
        self._move()
        queries = first + np.arange(len(new))
        self.positions = np.concatenate([self.positions, queries])
        self.tokens = np.concatenate([self.tokens, new])
        x = self.architecture.embedding_scale * self._embeddings[new].astype(np.float64)
        seen: list[Seen] = []
        for block in self._blocks:
            x, attended, gate = block(x, queries, self.positions)
            seen.append(
                Seen(
                    positions=self.positions,
                    weights=attended.weights[:, -1].copy(),  # or all rows would live on
                    sink=attended.sink[:, -1],
                    residual_norms=np.linalg.norm(x, axis=-1),
                    gate=gate,
                )
            )
        self.seen = tuple(seen)
        logits = self._output(rms_norm(x[len(x) - wanted :], self._norm, self.architecture.eps))
        cap = self.architecture.logit_cap
        return logits if cap is None else cap * np.tanh(logits / cap)

    def remove(self, p0: int, p1: int | None = None) -> None:
        """Forget the cells at positions p0 to p1 - 1, to the end by default; the rest keeps its positions."""
        end = self.next_position if p1 is None else _whole("p1", p1)
        kept = (self.positions < _whole("p0", p0)) | (self.positions >= end)
        self.positions, self.tokens = self.positions[kept], self.tokens[kept]
        self._moved = None if self._moved is None else self._moved[kept]
        for block in self._blocks:
            block.cells.keep(kept)

    def renumber(self, p0: int, delta: int) -> None:
        """Add `delta` to all positions from p0 on. The keys are rotated by the next decode, once however often they
        were renumbered, as in llama.cpp (which shows with YaRN). ValueError where positions would meet or cross.
        """
        p0, delta = _whole("p0", p0), _whole("delta", delta)
        moves = self.positions >= p0
        positions = self.positions + np.where(moves, delta, 0)
        require(bool((np.diff(positions, prepend=-1) > 0).all()), f"positions from {p0} on cannot move by {delta}")
        if delta and moves.any():
            before = np.zeros_like(positions) if self._moved is None else self._moved
            self._moved = before + np.where(moves, delta, 0)
        self.positions = positions

    def rebuild(self, *, n_output: int | None = 1) -> Floats:
        """Decode what the cache holds once more, at positions 0, 1, 2, ..., without the evicted tokens."""
        tokens = self.tokens.tolist()
        self.clear()
        return self.decode(tokens, n_output=n_output)

    def clear(self) -> None:
        """Forget everything."""
        self.remove(0)

    def _move(self) -> None:
        """Rotate the keys that were renumbered."""
        if self._moved is not None:
            for block in self._blocks:
                block.shift(self._moved)
            self._moved = None


def _whole(name: str, value: int) -> int:
    return checks.count(name, value, -checks.FAR, checks.FAR)
