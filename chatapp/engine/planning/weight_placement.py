"""How many bytes a model's weights take on each device, as llama.cpp will log it, before a weight is loaded.

On a GPU they are copied as they are. On the host they stay in the mapped file, but for those that the CPU can
multiply faster in a layout of its own: ggml copies these into a buffer beside it (CPU_REPACK and the like). Which
ones depends on the machine, so ggml itself is asked, in the way llama.cpp asks it (llama-model-loader.cpp,
select_weight_buft).
"""

import ctypes
import re
from collections.abc import Mapping, Sequence
from typing import Final

from chatapp.engine.native.gguf import GgufMeta, Tensor, TensorHead, parts
from chatapp.engine.native.llama import ggml_library
from chatapp.protocol.values import HOST

GGML_TYPE_F32: Final = 0
GGML_TYPE_I32: Final = 26
DEVICE_CPU: Final = 0
BATCH_TOK: Final = 512
ALIGNMENT: Final = 32
ARENA_BYTES: Final = 1 << 14
"""Room for the few tensors of one question."""
_LAYER = re.compile(r"blk\.(\d+)\.")


class _InitParams(ctypes.Structure):
    """struct ggml_init_params."""

    _fields_ = [("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool)]


def by_device(meta: GgufMeta, placed: Sequence[str]) -> dict[str, int]:
    """Bytes by device, where the layers are `placed` so and the output behind them (llama-model.cpp, load_tensors).

    The host's are those of the mapped part of the file, and of the copies in the CPU's own layouts beside it. What
    tokens are looked up in is the host's always; a tied output matrix is a second copy of it where the output is not.
    """
    files = parts(meta)
    tied = not any("output.weight" in file.tensors for file in files)
    output_here = not placed or placed[-1] == HOST
    layouts, sizes = _Layouts(), {HOST: 0}
    for file in files:
        here: dict[str, Tensor] = {}
        for name, tensor in file.tensors.items():
            devices = _devices_of(name, placed, tied)
            for device in devices - {HOST}:
                sizes[device] = sizes.get(device, 0) + tensor.size_bytes
            if HOST in devices:
                here[name] = tensor
        sizes[HOST] += _host_bytes(here, layouts, tied and output_here)
    return sizes


def _devices_of(name: str, placed: Sequence[str], tied: bool) -> set[str]:
    """Where a tensor goes to."""
    layer = _LAYER.match(name)
    if layer is not None:
        return {placed[int(layer[1])]} if int(layer[1]) < len(placed) else {HOST}
    output = placed[-1] if placed else HOST
    if name.startswith("output"):
        return {output}
    return {HOST, output} if tied and name == "token_embd.weight" else {HOST}


def _host_bytes(tensors: Mapping[str, Tensor], layouts: "_Layouts", tied: bool) -> int:
    mapped: list[Tensor] = []
    copied = 0
    for name, tensor in tensors.items():
        # A tied embedding is also the output matrix: mapped for the one, perhaps copied for the other.
        embeds = name == "token_embd.weight"
        size = layouts.copy_bytes(tensor) if _multiplies(name, tensor) and (not embeds or tied) else 0
        copied += size
        if embeds or not size:
            mapped.append(tensor)
    if not mapped:
        return copied
    first = min(tensor.offset for tensor in mapped)
    return copied + max(tensor.offset + tensor.size_bytes for tensor in mapped) - first


def _multiplies(name: str, tensor: Tensor) -> bool:
    """Whether a tensor is a matrix that tokens are multiplied by: only those have other layouts."""
    return name.endswith(".weight") and tensor.shape[1] > 1


class _Layouts:
    """The layouts that this CPU has for weights beside the plain one, best first."""

    def __init__(self) -> None:
        self._base = base = ggml_library()
        registry = ggml_library("ggml")
        registry.ggml_backend_dev_by_type.restype = ctypes.c_void_p
        base.ggml_backend_dev_backend_reg.restype = ctypes.c_void_p
        base.ggml_backend_dev_backend_reg.argtypes = [ctypes.c_void_p]
        base.ggml_backend_reg_get_proc_address.restype = ctypes.c_void_p
        base.ggml_backend_reg_get_proc_address.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
        base.ggml_init.restype, base.ggml_init.argtypes = ctypes.c_void_p, [_InitParams]
        base.ggml_free.argtypes = base.ggml_backend_buffer_free.argtypes = [ctypes.c_void_p]
        base.ggml_new_tensor_4d.restype = ctypes.POINTER(TensorHead)
        base.ggml_new_tensor_4d.argtypes = [ctypes.c_void_p, ctypes.c_int, *[ctypes.c_int64] * 4]
        for call, count in ((base.ggml_mul_mat, 3), (base.ggml_mul_mat_id, 4)):
            call.restype, call.argtypes = ctypes.c_void_p, [ctypes.c_void_p] * count
        base.ggml_backend_buft_alloc_buffer.restype = ctypes.c_void_p
        base.ggml_backend_buft_alloc_buffer.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
        base.ggml_backend_buft_get_alloc_size.restype = ctypes.c_size_t
        base.ggml_backend_buft_get_alloc_size.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        base.ggml_backend_dev_supports_op.restype = ctypes.c_bool
        base.ggml_backend_dev_supports_op.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
        registry.ggml_backend_dev_count.restype = ctypes.c_size_t
        registry.ggml_backend_dev_get.restype = ctypes.c_void_p
        registry.ggml_backend_dev_get.argtypes = [ctypes.c_size_t]
        base.ggml_backend_dev_host_buffer_type.restype = ctypes.c_void_p
        base.ggml_backend_dev_host_buffer_type.argtypes = [ctypes.c_void_p]
        self._device = registry.ggml_backend_dev_by_type(DEVICE_CPU)
        devices = [registry.ggml_backend_dev_get(i) for i in range(registry.ggml_backend_dev_count())]
        # Beside a card llama.cpp keeps what stays here where the card's driver reaches it (make_cpu_buft_list).
        beside_card = any(base.ggml_backend_dev_host_buffer_type(device) for device in devices)
        self._types = [] if beside_card else self._extra_types()
        self._known: dict[tuple[int, tuple[int, ...]], int] = {}

    def copy_bytes(self, tensor: Tensor) -> int:
        """Bytes of the copy of this matrix in the best layout that takes it; 0 where none does."""
        key = (tensor.kind, tensor.shape)
        if key not in self._known:
            sizes = (self._size(buffer_type, tensor) for buffer_type in self._types)
            self._known[key] = next((size for size in sizes if size), 0)
        return self._known[key]

    def _extra_types(self) -> list[int]:
        registry = self._base.ggml_backend_dev_backend_reg(self._device)
        address = self._base.ggml_backend_reg_get_proc_address(registry, b"ggml_backend_dev_get_extra_bufts")
        if not address:
            return []
        call = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(address)
        listed, found = call(self._device), list[int]()
        while listed and (buffer_type := listed[len(found)]):
            found.append(buffer_type)
        return found

    def _size(self, buffer_type: int, tensor: Tensor) -> int:
        base = self._base
        arena = base.ggml_init(_InitParams(ARENA_BYTES, None, True))
        buffer = base.ggml_backend_buft_alloc_buffer(buffer_type, 0)
        try:
            weight = base.ggml_new_tensor_4d(arena, tensor.kind, *tensor.shape)
            weight.contents.buffer = buffer
            inputs, experts = tensor.shape[0], tensor.shape[2] > 1
            if experts:
                tokens = base.ggml_new_tensor_4d(arena, GGML_TYPE_F32, inputs, 1, BATCH_TOK, 1)
                chosen = base.ggml_new_tensor_4d(arena, GGML_TYPE_I32, 1, BATCH_TOK, 1, 1)
                product = base.ggml_mul_mat_id(arena, weight, tokens, chosen)
            else:
                tokens = base.ggml_new_tensor_4d(arena, GGML_TYPE_F32, inputs, BATCH_TOK, 1, 1)
                product = base.ggml_mul_mat(arena, weight, tokens)
            if not base.ggml_backend_dev_supports_op(self._device, product):
                return 0
            size = int(base.ggml_backend_buft_get_alloc_size(buffer_type, weight))
            return -(-size // ALIGNMENT) * ALIGNMENT
        finally:
            base.ggml_backend_buffer_free(buffer)
            base.ggml_free(arena)
