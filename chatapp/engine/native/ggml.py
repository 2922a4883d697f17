"""ggml's tensors as they lie in memory: the struct of ggml.h, and how to read one wherever it lies.

llama_cpp binds no tensor, so this module knows the struct of the llama.cpp that is pinned, and checks its size against
the library's own. Nothing here imports llama_cpp: whoever has loaded libggml-base hands it over.
"""

import ctypes
from ctypes import c_bool, c_char, c_char_p, c_int, c_int32, c_int64, c_size_t, c_void_p
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Numbers = npt.NDArray[Any]
Bytes = npt.NDArray[np.uint8]

F32: Final = 0
"""Of enum ggml_type, as are the next two."""
F16: Final = 1
I32: Final = 26
_PLAIN: Final = {F32: np.float32, F16: np.float16, I32: np.int32}
_OBJECT_BYTES: Final = 32
"""sizeof(struct ggml_object), which ggml_tensor_overhead() counts too."""


class Tensor(ctypes.Structure):
    """struct ggml_tensor (ggml.h). `ne` counts elements, `nb` is bytes from one to the next, fastest dimension first.

    Made with `from_address` it is no copy, and good for as long as the graph that it belongs to.
    """

    type: int
    buffer: int | None
    ne: "ctypes.Array[c_int64]"
    nb: "ctypes.Array[c_size_t]"
    op: int
    op_params: "ctypes.Array[c_int32]"
    src: "ctypes.Array[c_void_p]"
    view_src: int | None
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
        """What this tensor is made from, None where it has no such source."""
        address: Any = self.src[index]
        return Tensor.from_address(address) if address else None

    @property
    def view_of(self) -> "Tensor | None":
        """The tensor whose memory this one looks at, None where it has its own."""
        return Tensor.from_address(self.view_src) if self.view_src else None

    @property
    def shape(self) -> tuple[int, ...]:
        """As NumPy has it, four dimensions, slowest first."""
        return tuple(self.ne)[::-1]

    def parameter(self, index: int) -> float:
        """A parameter of the operation that is a float."""
        return float(np.array(self.op_params[index], np.int32).view(np.float32))


NAME_AT: Final[int] = Tensor.name.offset  # type: ignore[attr-defined]  # the class attribute is a ctypes field
SOURCES_AT: Final[int] = Tensor.src.offset  # type: ignore[attr-defined]


class Ggml:
    """Reads tensors through libggml-base."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._get = library.ggml_backend_tensor_get
        self._get.restype, self._get.argtypes = None, [c_void_p, c_void_p, c_size_t, c_size_t]
        self._is_host = library.ggml_backend_buffer_is_host
        self._is_host.restype, self._is_host.argtypes = c_bool, [c_void_p]
        self._n_bytes = library.ggml_nbytes
        self._n_bytes.restype, self._n_bytes.argtypes = c_size_t, [c_void_p]
        self._operation = library.ggml_op_desc
        self._operation.restype, self._operation.argtypes = c_char_p, [c_void_p]
        self._overhead = library.ggml_tensor_overhead
        self._overhead.restype, self._overhead.argtypes = c_size_t, []

    def layout_is_known(self) -> bool:
        """True where the library's struct is as large as the one written down here."""
        return int(self._overhead()) == _OBJECT_BYTES + ctypes.sizeof(Tensor)

    def operation(self, tensor: Tensor) -> str:
        """What makes this tensor: "FLASH_ATTN_EXT", "SOFT_MAX", "CPY"."""
        return bytes(self._operation(ctypes.byref(tensor))).decode()

    def memory(self, tensor: Tensor) -> Bytes:
        """The bytes from the tensor's first element to its last: themselves where the host can see them, else a copy
        from the device.
        """
        n_bytes = int(self._n_bytes(ctypes.byref(tensor)))
        owner = tensor.view_of or tensor
        if tensor.data and owner.buffer and self._is_host(owner.buffer):
            return np.frombuffer(memoryview((ctypes.c_uint8 * n_bytes).from_address(tensor.data)), np.uint8)
        copy = np.empty(n_bytes, np.uint8)
        self._get(ctypes.byref(tensor), copy.ctypes.data, 0, n_bytes)
        return copy

    def numbers(self, tensor: Tensor) -> Numbers:
        """A copy of an F32, F16 or I32 tensor as an array of `tensor.shape`, whatever its strides."""
        kind = _PLAIN[tensor.type]
        return np.ndarray(tensor.shape, kind, self.memory(tensor), strides=tuple(tensor.nb)[::-1]).copy()
