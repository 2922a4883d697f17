"""Observing one decode: a callback in llama.cpp's scheduler that copies the few tensors that attention is made from.

The scheduler asks the callback about every node of the graph, and stops after each node that it wants
(ggml-backend.cpp, ggml_backend_sched_compute_splits). So the callback wants few nodes and copies little: the query,
which the next layer overwrites, and one row of the mask. The keys stay in the cache and are read afterwards. The
output of a layer is read at the attention of the next one, where a later node still needs it: half the stops.

llama.cpp removes the callback whenever it builds a graph: for the first single token after a batch, when 256 more
cells come into use, after a shift. Such a decode gives no sample, and `seen` stays None.
"""

import re
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final

import numpy as np

from chatapp.engine.native import build, ggml
from chatapp.engine.native.ggml import Floats, Numbers, Tensor
from chatapp.engine.native.llama import Context
from chatapp.engine.native.scheduler_hook import can_watch, node_callback, watch
from chatapp.protocol.values import Answer

NODE: Final = re.compile(rb"(kqv_out|kq_soft_max|l_out|ffn_moe_topk|ffn_moe_weights(?:_softmax|_norm|_scaled)?)-(\d+)")
"""Names that llama-graph.cpp gives with `cb`, and the layer; a view of such a node has a suffix and is not wanted."""
_BEGINNINGS: Final = frozenset((b"kqv_", b"kq_s", b"l_ou", b"ffn_"))
_DEEPEST: Final = 8
"""Nodes between the attention and kqv_out: a reshape, or what multi-head latent attention puts there."""


@dataclass(frozen=True, slots=True)
class Attention:
    """The inputs of one layer's attention: query and keys, or the weights themselves where ggml computes them."""

    layer: int
    mask: Numbers
    """(n_cells,), one row: 0 where the token sees the cell, -inf where it does not."""
    n_cache: int
    """Cells in the cache of this layer; the graph reads the first n_cells of them."""
    weights: Floats | None = None
    """(n_head, n_cells), from the node kq_soft_max: flash attention is off."""
    q: Floats | None = None
    """(n_head, head_dim)"""
    keys: Tensor | None = None
    """A copy of the tensor struct that views the cache, (head_dim, n_cells, n_kv_head) in ggml's order. The keys are
    not copied, and change with the next decode.
    """
    scale: float = 1.0
    softcap: float = 0.0
    alibi: float = 0.0
    sink_logits: Floats | None = None
    """(n_head,): what a model with learned sinks adds to each softmax."""


@dataclass(slots=True)
class ExpertChoices:
    """The experts that one layer chose for the token, and the weight of each."""

    chosen: list[int]
    weights: list[float] = field(default_factory=list[float])


@dataclass(slots=True)
class DecodeCapture:
    """What was captured of a decode's last token, by layer."""

    attention: dict[int, Attention] = field(default_factory=dict[int, Attention])
    experts: dict[int, ExpertChoices] = field(default_factory=dict[int, ExpertChoices])
    norms: dict[int, float] = field(default_factory=dict[int, float])
    """Euclidean norm of the residual stream after each layer."""


class Tap:
    """Observes one decode of an attached context: `with tap: context.decode(...)`. `seen` is the capture, or None.

    `problem` says what went wrong; the decode itself is not affected.
    """

    def __init__(self, *, always: bool = False) -> None:
        """With `always` the context is made with `callback` as its own and keeps it: each decode then calls Python for
        each node of its graph, which costs several percent, and needs nothing but the C interface.
        """
        self.seen: DecodeCapture | None = None
        self.problem: str | None = None
        self.callback = node_callback(self._look)
        self._always = always
        self._context: Context | None = None
        self._looking = False
        self._collected = DecodeCapture()
        self._masks: dict[int | None, Numbers] = {}
        self._lasting: frozenset[int] | None = None
        self._learned: set[int] = set()
        self._output: tuple[int, int] | None = None

    def attach(self, context: Context) -> None:
        """Set the context whose decodes are observed."""
        self._context = context

    def __enter__(self) -> None:
        self.seen, self._collected, self._masks = None, DecodeCapture(), {}
        self._output, self._learned = None, set()
        self._looking = True
        if self._context is not None and not self._always:
            watch(self._context, self.callback)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._context is not None:
            self._context.synchronize()
            if not self._always:
                watch(self._context, None)
        self._looking = False
        if kind is None and self.problem is None and self._collected.attention:
            self.seen = self._collected
            self._lasting = frozenset(self._learned) if self._lasting is None else self._lasting

    def _look(self, address: int, ask: bool, _user: int | None) -> bool:
        if ask:
            if self._looking and self._lasting is None:
                self._learn(address)
            return self._looking and ggml.name_begins_at(address) in _BEGINNINGS and self._wants(address)
        try:
            self._take(ggml.tensor_at(address))
        except Exception as error:  # none may cross C, where False would end the computation
            self.problem = f"{type(error).__name__}: {error}"
        return True

    def _wants(self, address: int) -> bool:
        match = NODE.fullmatch(ggml.name_at(address))
        if match is None or match[1] != b"l_out":
            return match is not None
        self._output = int(match[2]), address
        return self._lasting is None or self._output[0] not in self._lasting

    def _learn(self, address: int) -> None:
        """In the first capture: a layer's output lasts where a node after the attention of the next layer reads it.
        All graphs that decode one token have the same nodes.
        """
        if self._output is None or self._output[0] + 1 not in self._collected.attention:
            return
        if self._output[1] in ggml.sources_at(address):
            self._learned.add(self._output[0])

    def _take(self, node: Tensor) -> None:
        match = NODE.fullmatch(node.name)
        assert match is not None
        name, layer = match[1], int(match[2])
        seen = self._collected
        if name in (b"kqv_out", b"kq_soft_max"):
            self._take_lasting()
        if name == b"kqv_out":
            self._take_flash_attention(layer, node)
        elif name == b"kq_soft_max":
            self._take_soft_max(layer, node)
        elif name == b"l_out":
            seen.norms[layer] = self._norm(node)
        elif name == b"ffn_moe_topk":
            seen.experts[layer] = ExpertChoices(ggml.numbers(node)[0, 0, -1].tolist())
        elif layer in seen.experts:  # the weights, at several stages: the last one counts
            n_used = len(seen.experts[layer].chosen)
            seen.experts[layer].weights = ggml.numbers(node).reshape(-1, n_used)[-1].tolist()

    def _take_lasting(self) -> None:
        """Read the output of the layer before, where the scheduler did not stop for it."""
        if self._lasting and self._output is not None and self._output[0] in self._lasting:
            self._collected.norms[self._output[0]] = self._norm(ggml.tensor_at(self._output[1]))

    def _norm(self, node: Tensor) -> float:
        return float(np.linalg.norm(ggml.numbers(node)[0, 0, -1]))

    def _take_soft_max(self, layer: int, node: Tensor) -> None:
        mask, sinks = node.source(1), node.source(2)
        if mask is not None:
            row = self._row(mask)
            self._collected.attention[layer] = Attention(
                layer,
                row,
                _size(_cached(node), len(row)),
                weights=ggml.numbers(node)[0, :, -1],
                sink_logits=ggml.numbers(sinks).ravel() if sinks is not None else None,
            )

    def _take_flash_attention(self, layer: int, node: Tensor) -> None:
        found = self._flash_attention(node)
        if found is None:
            return
        q, k, mask, sinks = (found.source(i) for i in (0, 1, 3, 4))
        if q is None or k is None or mask is None:
            return
        cached, row = _cached(k), self._row(mask)
        if cached is None:
            self.problem = "llama.cpp moves the keys to another device for each token."
            return
        self._collected.attention[layer] = Attention(
            layer,
            row,
            _size(cached, len(row)),
            q=ggml.numbers(q)[0, :, -1],
            keys=cached.copy(),
            scale=found.parameter(0),
            alibi=found.parameter(1),
            softcap=found.parameter(2),
            sink_logits=ggml.numbers(sinks).ravel() if sinks is not None else None,
        )

    def _flash_attention(self, node: Tensor) -> Tensor | None:
        found: Tensor | None = node
        for _ in range(_DEEPEST):
            if found is None or ggml.operation(found) == "FLASH_ATTN_EXT":
                return found
            found = found.source(0)
        return None

    def _row(self, mask: Tensor) -> Numbers:
        """The mask of the last token; layers of one kind share it, and it is read once."""
        if mask.data not in self._masks:
            self._masks[mask.data] = ggml.numbers(mask)[0, 0, -1]
        return self._masks[mask.data]


def _cached(tensor: Tensor) -> Tensor | None:
    """The view of the cache that this tensor is made from: llama.cpp converts F32 keys for flash attention."""
    found: Tensor | None = tensor
    for _ in range(_DEEPEST):
        if found is None:
            return None
        owner = found.view_of
        if owner is not None and owner.name.startswith(b"cache_k"):
            return found
        found = found.source(0)
    return None


def _size(cached: Tensor | None, otherwise: int) -> int:
    owner = cached.view_of if cached is not None else None
    return int(owner.ne[1]) if owner is not None else otherwise


def answer(*, attends: bool, always: bool) -> Answer:
    """Whether decodes can be sampled; `attends`: a layer has attention. `always` is engine.probe_always."""
    if not attends:
        return Answer(ok=False, why="No layer of this model has attention.")
    unknown = build.tensors()
    if unknown is not None:
        return Answer(ok=False, why=unknown.what)
    if not can_watch() and not always:
        return Answer(ok=False, why="This build does not export its scheduler; engine.probe_always works without it.")
    return Answer(ok=True)
