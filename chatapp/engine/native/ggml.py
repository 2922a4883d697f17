"""ggml's tensors in memory: the struct of ggml.h, and how to read one on any device.

llama_cpp does not bind tensors, so this module defines the struct of the pinned llama.cpp; `tensor_layout` compares it
with a tensor that ggml made.
"""

import ctypes
from ctypes import c_char, c_int, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chatapp.engine.native.symbols import function

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

F32: Final = 0
"""Of enum ggml_type, as are the next two."""
F16: Final = 1
I32: Final = 26
_PLAIN: Final = {F32: np.float32, F16: np.float16, I32: np.int32}


class Tensor(ctypes.Structure):
    """struct ggml_tensor (ggml.h). `ne` counts elements, `nb` is bytes from one to the next, fastest dimension first.

    Made with `from_address` it is not a copy, and valid as long as the graph that it belongs to.
    """

    type: int
    buffer: int | None
    ne: "ctypes.Array[c_int64]"
    nb: "ctypes.Array[c_size_t]"
    op: int
    op_params: "ctypes.Array[c_int32]"
    flags: int
    src: "ctypes.Array[c_void_p]"
    view_src: int | None
    view_offs: int
    data: int | None
    name: bytes
    _fields_ = (
        ("type", c_int),
        ("buffer", c_void_p),
        ("ne", c_int64 * 4),
        ("nb", c_size_t * 4),
        ("op", c_int),
        ("op_params", c_int32 * 16),
        ("flags", c_int32),
        ("src", c_void_p * 10),
        ("view_src", c_void_p),
        ("view_offs", c_size_t),
        ("data", c_void_p),
        ("name", c_char * 64),
        ("extra", c_void_p),
        ("padding", c_char * 8),
    )

    def source(self, index: int) -> "Tensor | None":
        """An input of the operation that makes this tensor, None where it has no such input."""
        address: Any = self.src[index]
        return Tensor.from_address(address) if address else None

    @property
    def view_of(self) -> "Tensor | None":
        """The tensor that this one is a view of, None where it has memory of its own."""
        return Tensor.from_address(self.view_src) if self.view_src else None

    @property
    def shape(self) -> tuple[int, ...]:
        """In NumPy's order: four dimensions, slowest first."""
        return tuple(self.ne)[::-1]

    def parameter(self, index: int) -> float:
        """A parameter of the operation, as a float."""
        return float(np.array(self.op_params[index], np.int32).view(np.float32))

    def copy(self) -> "Tensor":
        """A copy of the struct; what it points to is not copied."""
        return Tensor.from_buffer_copy(self)

    def without_sources(self) -> "Tensor":
        """A copy without an operation: another graph takes it as data."""
        leaf = self.copy()
        leaf.op = 0  # GGML_OP_NONE
        for index in range(len(leaf.src)):
            leaf.src[index] = None
        return leaf


_FIELDS: Any = Tensor  # the attributes of the class are ctypes fields, unlike those of an instance
_NAME_AT: Final = int(_FIELDS.name.offset)
_SOURCES_AT: Final = int(_FIELDS.src.offset)
_SOURCES: Final = c_void_p * 10


def tensor_at(address: int) -> Tensor:
    """The tensor at `address`, not copied."""
    return Tensor.from_address(address)


def name_at(address: int) -> bytes:
    """The name of the tensor at `address`. Much faster than `tensor_at`: a callback needs it for every node."""
    return ctypes.string_at(address + _NAME_AT)


def name_begins_at(address: int) -> bytes:
    """The first four bytes of that name, faster still."""
    return ctypes.string_at(address + _NAME_AT, 4)


def sources_at(address: int) -> list[int | None]:
    """The addresses of the inputs of the tensor at `address`."""
    return list(_SOURCES.from_address(address + _SOURCES_AT))


def operation(tensor: Tensor) -> str:
    """The operation that makes this tensor: "FLASH_ATTN_EXT", "SOFT_MAX", "CPY"."""
    return bytes(function("ggml_op_desc")(ctypes.byref(tensor))).decode()


def memory(tensor: Tensor) -> Bytes:
    """The bytes from the tensor's first element to its last: in place where the host can read them, else a copy from
    the device.
    """
    n_bytes = int(function("ggml_nbytes")(ctypes.byref(tensor)))
    owner = tensor.view_of or tensor
    if tensor.data and owner.buffer and function("ggml_backend_buffer_is_host")(owner.buffer):
        return np.frombuffer(memoryview((ctypes.c_uint8 * n_bytes).from_address(tensor.data)), np.uint8)
    copy = np.empty(n_bytes, np.uint8)
    function("ggml_backend_tensor_get")(ctypes.byref(tensor), copy.ctypes.data, 0, n_bytes)
    return copy


def numbers(tensor: Tensor) -> Numbers:
    """A copy of an F32, F16 or I32 tensor as an array of `tensor.shape`, whatever its strides."""
    kind = _PLAIN[tensor.type]
    return np.ndarray(tensor.shape, kind, memory(tensor), strides=tuple(tensor.nb)[::-1]).copy()
