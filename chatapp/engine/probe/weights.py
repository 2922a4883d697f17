"""The attention weights, which flash attention does not store: computed again by ggml, on the device of the keys.

A graph of a few operations a layer, the ones that llama.cpp uses with flash attention off (llama-graph.cpp,
build_attn_mha): it reads the cache in place, whatever the type of its keys, and on the GPU where they are there.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np

from chatapp.engine.native.ggml import Floats
from chatapp.engine.native.graph import Backends, Graph, Node
from chatapp.engine.probe.tap import Attention

MOST_BYTES: Final = 16 * 2**20
"""Scores in one graph; the layers of a long window take several graphs."""
_TENSORS_A_LAYER: Final = 10


class WeightMaker:
    """Computes the weights of decodes whose keys are still in the cache."""

    def __init__(self, n_threads: int) -> None:
        """`n_threads` is for keys on the host."""
        self._backends = Backends(n_threads)

    def close(self) -> None:
        """Free the backends."""
        self._backends.close()

    def weights(self, layers: Sequence[Attention]) -> list[Floats]:
        """(n_head, n_cells) for each of `layers`, 0 where the token does not see the cell. Rows sum to 1 less the share
        of a learned sink. RuntimeError where ggml has no memory for it.
        """
        made: list[Floats] = []
        for backend, some in self._batches(layers):
            made += _make(backend, some)
        return made

    def _batches(self, layers: Iterable[Attention]) -> Iterator[tuple[int, list[Attention]]]:
        """Consecutive layers on one device that fit in MOST_BYTES."""
        batch: list[Attention] = []
        on, n_bytes = 0, 0
        for layer in layers:
            assert layer.keys is not None
            backend = self._backends.where(layer.keys)
            needs = 4 * len(_q(layer)) * len(layer.mask)
            if batch and (backend != on or n_bytes + needs > MOST_BYTES):
                yield on, batch
                batch, n_bytes = [], 0
            batch.append(layer)
            on, n_bytes = backend, n_bytes + needs
        if batch:
            yield on, batch


def _make(backend: int, layers: Sequence[Attention]) -> list[Floats]:
    with Graph(_TENSORS_A_LAYER * len(layers)) as graph:
        outputs = [_layer(graph, layer) for layer in layers]
        graph.compute(backend, outputs)
        return [
            graph.read(output, (len(_q(layer)), len(layer.mask))) for output, layer in zip(outputs, layers, strict=True)
        ]


def _layer(graph: Graph, layer: Attention) -> Node:
    """The nodes of one layer."""
    assert layer.keys is not None
    q = _q(layer)
    n_head, head_dim = q.shape
    n_kv_head = layer.keys.ne[2]
    # Heads that share a key head are treated as tokens, so that ggml converts each key once for all of them.
    scores = graph.mul_mat(graph.existing(layer.keys), graph.values(q, head_dim, n_head // n_kv_head, n_kv_head))
    scores = graph.reshape(scores, len(layer.mask), 1, n_head)
    scale = layer.scale
    if layer.softcap:
        scores = graph.tanh(graph.scale(scores, scale / layer.softcap))
        scores, scale = graph.scale(scores, layer.softcap), 1.0
    mask = graph.values(layer.mask.astype(np.float32), len(layer.mask), 1, 1)
    weights = graph.soft_max(scores, mask, scale, layer.alibi)
    if layer.sink_logits is not None:
        graph.add_sinks(weights, graph.values(layer.sink_logits, n_head, 1, 1))
    return weights


def _q(layer: Attention) -> Floats:
    assert layer.q is not None
    return layer.q
