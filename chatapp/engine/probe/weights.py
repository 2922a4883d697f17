"""The attention weights that flash attention never writes down, made by ggml itself, where the keys lie.

A graph of a few operations a layer, the ones that llama.cpp uses with flash attention off (llama-graph.cpp,
build_attn_mha): it reads the cache in place, with all its types of keys, on the GPU where they are there.
"""

import ctypes
from collections.abc import Iterable, Iterator, Sequence
from ctypes import c_bool, c_float, c_int, c_int64, c_size_t, c_void_p
from typing import Any, Final

import numpy as np

from chatapp.engine.native.ggml import F32, Floats, Tensor
from chatapp.engine.native.llama import ggml_library
from chatapp.engine.probe.tap import Attention

MOST_BYTES: Final = 16 * 2**20
"""Scores that one graph holds; the layers of a long window are done in several."""
_TENSORS_A_LAYER: Final = 10
_PRECISE: Final = 10
"""GGML_PREC_F32"""
_CPU: Final = 0
"""GGML_BACKEND_DEVICE_TYPE_CPU"""


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool))


class WeightMaker:
    """Makes the weights of decodes whose keys are still in the cache."""

    def __init__(self, n_threads: int) -> None:
        self._n_threads = n_threads
        self._backends: dict[int | None, int] = {}
        self._base, self._registry = ggml_library(), ggml_library("ggml")
        self._cpu = ggml_library("ggml-cpu")
        declare = _declare
        declare(self._base, "ggml_init", c_void_p, _InitParams)
        declare(self._base, "ggml_free", None, c_void_p)
        declare(self._base, "ggml_graph_overhead_custom", c_size_t, c_size_t, c_bool)
        declare(self._base, "ggml_tensor_overhead", c_size_t)
        declare(self._base, "ggml_new_graph_custom", c_void_p, c_void_p, c_size_t, c_bool)
        declare(self._base, "ggml_build_forward_expand", None, c_void_p, c_void_p)
        declare(self._base, "ggml_new_tensor_3d", c_void_p, c_void_p, c_int, c_int64, c_int64, c_int64)
        declare(self._base, "ggml_mul_mat", c_void_p, c_void_p, c_void_p, c_void_p)
        declare(self._base, "ggml_prec_set_acc", c_bool, c_void_p, c_int)
        declare(self._base, "ggml_reshape_3d", c_void_p, c_void_p, c_void_p, c_int64, c_int64, c_int64)
        declare(self._base, "ggml_scale_inplace", c_void_p, c_void_p, c_void_p, c_float)
        declare(self._base, "ggml_tanh_inplace", c_void_p, c_void_p, c_void_p)
        declare(self._base, "ggml_soft_max_ext_inplace", c_void_p, c_void_p, c_void_p, c_void_p, c_float, c_float)
        declare(self._base, "ggml_soft_max_add_sinks", None, c_void_p, c_void_p)
        declare(self._base, "ggml_backend_alloc_ctx_tensors", c_void_p, c_void_p, c_void_p)
        declare(self._base, "ggml_backend_buffer_free", None, c_void_p)
        declare(self._base, "ggml_backend_buffer_get_type", c_void_p, c_void_p)
        declare(self._base, "ggml_backend_buft_get_device", c_void_p, c_void_p)
        declare(self._base, "ggml_backend_dev_init", c_void_p, c_void_p, c_void_p)
        declare(self._base, "ggml_backend_graph_compute", c_int, c_void_p, c_void_p)
        declare(self._base, "ggml_backend_tensor_set", None, c_void_p, c_void_p, c_size_t, c_size_t)
        declare(self._base, "ggml_backend_tensor_get", None, c_void_p, c_void_p, c_size_t, c_size_t)
        declare(self._base, "ggml_backend_free", None, c_void_p)
        declare(self._registry, "ggml_backend_init_by_type", c_void_p, c_int, c_void_p)
        declare(self._cpu, "ggml_backend_cpu_set_n_threads", None, c_void_p, c_int)

    def close(self) -> None:
        """Give back what the devices hold for it."""
        for backend in self._backends.values():
            self._base.ggml_backend_free(backend)
        self._backends.clear()

    def weights(self, layers: Sequence[Attention]) -> list[Floats]:
        """(n_head, n_cells) for each of `layers`, 0 where the token does not see. Rows sum to 1 less what a learned
        sink took. RuntimeError where ggml has no memory for it.
        """
        made: list[Floats] = []
        for backend, some in self._batches(layers):
            made += self._make(backend, some)
        return made

    def _batches(self, layers: Iterable[Attention]) -> Iterator[tuple[int, list[Attention]]]:
        """Neighbours on one device that fit in MOST_BYTES."""
        batch: list[Attention] = []
        on, n_bytes = 0, 0
        for layer in layers:
            backend = self._backend(layer)
            needs = 4 * len(_q(layer)) * len(layer.mask)
            if batch and (backend != on or n_bytes + needs > MOST_BYTES):
                yield on, batch
                batch, n_bytes = [], 0
            batch.append(layer)
            on, n_bytes = backend, n_bytes + needs
        if batch:
            yield on, batch

    def _backend(self, layer: Attention) -> int:
        assert layer.keys is not None
        base, owner = self._base, layer.keys.view_of or layer.keys
        device = base.ggml_backend_buft_get_device(base.ggml_backend_buffer_get_type(owner.buffer))
        if device not in self._backends:
            if device is None:  # the CPU's buffers name none
                made = self._registry.ggml_backend_init_by_type(_CPU, None)
                self._cpu.ggml_backend_cpu_set_n_threads(made, self._n_threads)
            else:
                made = base.ggml_backend_dev_init(device, None)
            self._backends[device] = made
        return self._backends[device]

    def _make(self, backend: int, layers: Sequence[Attention]) -> list[Floats]:
        base = self._base
        n_nodes = _TENSORS_A_LAYER * len(layers)
        overhead = base.ggml_graph_overhead_custom(n_nodes, False) + n_nodes * base.ggml_tensor_overhead()
        context = base.ggml_init(_InitParams(overhead, None, True))
        buffer = None
        try:
            graph = base.ggml_new_graph_custom(context, n_nodes, False)
            inputs: list[tuple[int, Floats]] = []
            keys = [_leaf(layer) for layer in layers]
            outputs = [self._layer(context, inputs, layer, key) for layer, key in zip(layers, keys, strict=True)]
            for output in outputs:
                base.ggml_build_forward_expand(graph, output)
            buffer = base.ggml_backend_alloc_ctx_tensors(context, backend)
            if not buffer:
                raise RuntimeError("ggml has no memory for the weights")
            for tensor, values in inputs:
                base.ggml_backend_tensor_set(tensor, values.ctypes.data, 0, values.nbytes)
            status = base.ggml_backend_graph_compute(backend, graph)
            if status:
                raise RuntimeError(f"ggml could not make the weights (status {status})")
            return [self._read(output, layer) for output, layer in zip(outputs, layers, strict=True)]
        finally:
            if buffer:
                base.ggml_backend_buffer_free(buffer)
            base.ggml_free(context)

    def _layer(self, context: int, inputs: list[tuple[int, Floats]], layer: Attention, keys: Tensor) -> int:
        """The nodes of one layer; what is to be put into its inputs joins `inputs`."""
        base = self._base

        def given(values: Floats, *shape: int) -> int:
            tensor = base.ggml_new_tensor_3d(context, F32, *shape)
            inputs.append((tensor, np.ascontiguousarray(values, np.float32)))
            return tensor

        q = _q(layer)
        n_head, head_dim = q.shape
        n_kv_head = keys.ne[2]
        # Heads that share a key head meet it as if they were tokens, so that ggml widens each key once for all of them.
        scores = base.ggml_mul_mat(context, ctypes.addressof(keys), given(q, head_dim, n_head // n_kv_head, n_kv_head))
        base.ggml_prec_set_acc(scores, _PRECISE)
        scores = base.ggml_reshape_3d(context, scores, len(layer.mask), 1, n_head)
        scale = layer.scale
        if layer.softcap:
            scores = base.ggml_tanh_inplace(context, base.ggml_scale_inplace(context, scores, scale / layer.softcap))
            scores, scale = base.ggml_scale_inplace(context, scores, layer.softcap), 1.0
        mask = given(layer.mask.astype(np.float32), len(layer.mask), 1, 1)
        weights = base.ggml_soft_max_ext_inplace(context, scores, mask, scale, layer.alibi)
        if layer.sink_logits is not None:
            base.ggml_soft_max_add_sinks(weights, given(layer.sink_logits, n_head, 1, 1))
        return weights

    def _read(self, output: int, layer: Attention) -> Floats:
        weights = np.empty((len(_q(layer)), len(layer.mask)), np.float32)
        self._base.ggml_backend_tensor_get(output, weights.ctypes.data, 0, weights.nbytes)
        return weights


def _q(layer: Attention) -> Floats:
    assert layer.q is not None
    return layer.q


def _leaf(layer: Attention) -> Tensor:
    """The keys' struct without what they were made from: for this graph they are there."""
    assert layer.keys is not None
    leaf = Tensor.from_buffer_copy(layer.keys)
    leaf.op = 0
    ctypes.memset(ctypes.addressof(leaf) + Tensor.src.offset, 0, ctypes.sizeof(leaf.src))  # type: ignore[attr-defined]
    return leaf


def _declare(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> None:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
