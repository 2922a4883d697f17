"""Small graphs of ggml's operations, computed on the device that has their data."""

import ctypes
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Final, NewType, Self

import numpy as np

from chatapp.engine.native.devices import CPU
from chatapp.engine.native.ggml import F32, Floats, Tensor
from chatapp.engine.native.symbols import InitParams, function

Node = NewType("Node", int)
"""A tensor of a graph under construction."""
_PRECISE: Final = 10
"""GGML_PREC_F32"""


class Backends:
    """One backend for each device that was asked for."""

    def __init__(self, n_threads: int) -> None:
        """`n_threads` is for the CPU."""
        self._n_threads = n_threads
        self._made: dict[int | None, int] = {}

    def where(self, tensor: Tensor) -> int:
        """The backend of the device that holds this tensor."""
        owner = tensor.view_of or tensor
        device = function("ggml_backend_buft_get_device")(function("ggml_backend_buffer_get_type")(owner.buffer))
        if device not in self._made:
            if device is None:  # the CPU's buffers name no device
                made = function("ggml_backend_init_by_type")(CPU, None)
                function("ggml_backend_cpu_set_n_threads")(made, self._n_threads)
            else:
                made = function("ggml_backend_dev_init")(device, None)
            self._made[device] = made
        return self._made[device]

    def close(self) -> None:
        """Free the backends."""
        for backend in self._made.values():
            function("ggml_backend_free")(backend)
        self._made.clear()


class Graph:
    """For a `with`: add inputs and operations, then `compute`, then `read`."""

    def __init__(self, n_tensors: int) -> None:
        """`n_tensors` is the most that it may have."""
        per_tensor = int(function("ggml_tensor_overhead")())
        overhead = function("ggml_graph_overhead_custom")(n_tensors, False) + n_tensors * per_tensor
        self._context: Any = function("ggml_init")(InitParams(overhead, None, True))
        self._graph: Any = function("ggml_new_graph_custom")(self._context, n_tensors, False)
        self._buffer: Any = None
        self._inputs: list[tuple[Node, Floats]] = []
        self._tensors: list[Tensor] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._buffer:
            function("ggml_backend_buffer_free")(self._buffer)
        function("ggml_free")(self._context)

    def values(self, values: Floats, *shape: int) -> Node:
        """A tensor of these values; `shape` has three dimensions, the fastest first."""
        node = Node(function("ggml_new_tensor_4d")(self._context, F32, *shape, 1))
        self._inputs.append((node, np.ascontiguousarray(values, np.float32)))
        return node

    def existing(self, tensor: Tensor) -> Node:
        """An existing tensor with its own memory."""
        self._tensors.append(tensor.without_sources())
        return Node(ctypes.addressof(self._tensors[-1]))

    def mul_mat(self, a: Node, b: Node) -> Node:
        """The products of the rows of both, accumulated in single precision."""
        product = function("ggml_mul_mat")(self._context, a, b)
        function("ggml_prec_set_acc")(product, _PRECISE)
        return Node(product)

    def reshape(self, node: Node, *shape: int) -> Node:
        """The same values in three other dimensions, the fastest first."""
        return Node(function("ggml_reshape_3d")(self._context, node, *shape))

    def scale(self, node: Node, factor: float) -> Node:
        """Times `factor`, in place."""
        return Node(function("ggml_scale_inplace")(self._context, node, factor))

    def tanh(self, node: Node) -> Node:
        """The hyperbolic tangent, in place."""
        return Node(function("ggml_tanh_inplace")(self._context, node))

    def soft_max(self, scores: Node, mask: Node, scale: float, alibi: float) -> Node:
        """Weights from scores, in place."""
        return Node(function("ggml_soft_max_ext_inplace")(self._context, scores, mask, scale, alibi))

    def add_sinks(self, weights: Node, sinks: Node) -> None:
        """Add learned sinks, one logit per head, to the soft max that makes `weights`."""
        function("ggml_soft_max_add_sinks")(weights, sinks)

    def compute(self, backend: int, outputs: Sequence[Node]) -> None:
        """Compute `outputs`. RuntimeError where the device has no memory for it, or fails."""
        for output in outputs:
            function("ggml_build_forward_expand")(self._graph, output)
        self._buffer = function("ggml_backend_alloc_ctx_tensors")(self._context, backend)
        if not self._buffer:
            raise RuntimeError("ggml could not allocate memory for the attention weights")
        for node, values in self._inputs:
            function("ggml_backend_tensor_set")(node, values.ctypes.data, 0, values.nbytes)
        status = function("ggml_backend_graph_compute")(backend, self._graph)
        if status:
            raise RuntimeError(f"ggml could not compute the attention weights (status {status})")

    def read(self, node: Node, shape: tuple[int, ...]) -> Floats:
        """The values of a computed node, in NumPy's order of dimensions."""
        values = np.empty(shape, np.float32)
        function("ggml_backend_tensor_get")(node, values.ctypes.data, 0, values.nbytes)
        return values
