"""The layouts that this CPU has for weights besides the plain one, and how many bytes a matrix takes in them."""

import ctypes
from typing import Any, Final

from chatapp.engine.native import tensor_layout
from chatapp.engine.native.devices import CPU, device_handles
from chatapp.engine.native.ggml import F32, I32, tensor_at
from chatapp.engine.native.gguf import TensorInfo
from chatapp.engine.native.symbols import InitParams, function

BATCH_TOK: Final = 512
ALIGNMENT: Final = 32
ARENA_BYTES: Final = 1 << 14
"""For the few tensors of one query."""
_EXTRA_BUFFER_TYPES: Final = b"ggml_backend_dev_get_extra_bufts"
"""The name of a function in the CPU's registry: from a device to its buffer types, ended by NULL."""
_GET_EXTRA: Final = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)


class CpuLayouts:
    """Asks ggml as llama.cpp does (llama-model-loader.cpp, select_weight_buft)."""

    def __init__(self) -> None:
        """BuildError where the field `buffer` of a tensor is not where it is expected: it has no setter."""
        unknown = tensor_layout.problem() if "buffer" in tensor_layout.differences() else None
        if unknown is not None:
            raise unknown
        self._device: Any = function("ggml_backend_dev_by_type")(CPU)
        # With a GPU llama.cpp puts host weights where the GPU's driver reaches them (make_cpu_buft_list).
        beside_card = any(function("ggml_backend_dev_host_buffer_type")(device) for device in device_handles())
        self._types = [] if beside_card else self._extra_types()
        self._known: dict[tuple[int, tuple[int, ...]], int] = {}

    def copy_bytes(self, tensor: TensorInfo) -> int:
        """Bytes of a copy of this matrix in the best layout that supports it; 0 where none does."""
        key = (tensor.kind, tensor.shape)
        if key not in self._known:
            sizes = (self._size(buffer_type, tensor) for buffer_type in self._types)
            self._known[key] = next((size for size in sizes if size), 0)
        return self._known[key]

    def _extra_types(self) -> list[int]:
        registry = function("ggml_backend_dev_backend_reg")(self._device)
        address = function("ggml_backend_reg_get_proc_address")(registry, _EXTRA_BUFFER_TYPES)
        if not address:
            return []
        listed, found = _GET_EXTRA(address)(self._device), list[int]()
        while listed and (buffer_type := listed[len(found)]):
            found.append(buffer_type)
        return found

    def _size(self, buffer_type: int, tensor: TensorInfo) -> int:
        new = function("ggml_new_tensor_4d")
        arena = function("ggml_init")(InitParams(ARENA_BYTES, None, True))
        buffer = function("ggml_backend_buft_alloc_buffer")(buffer_type, 0)
        try:
            weight = new(arena, tensor.kind, *tensor.shape)
            tensor_at(weight).buffer = buffer
            inputs, experts = tensor.shape[0], tensor.shape[2] > 1
            if experts:
                tokens = new(arena, F32, inputs, 1, BATCH_TOK, 1)
                chosen = new(arena, I32, 1, BATCH_TOK, 1, 1)
                product = function("ggml_mul_mat_id")(arena, weight, tokens, chosen)
            else:
                tokens = new(arena, F32, inputs, BATCH_TOK, 1, 1)
                product = function("ggml_mul_mat")(arena, weight, tokens)
            if not function("ggml_backend_dev_supports_op")(self._device, product):
                return 0
            size = int(function("ggml_backend_buft_get_alloc_size")(buffer_type, weight))
            return -(-size // ALIGNMENT) * ALIGNMENT
        finally:
            function("ggml_backend_buffer_free")(buffer)
            function("ggml_free")(arena)
