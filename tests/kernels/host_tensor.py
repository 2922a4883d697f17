"""A NumPy array with what Triton's interpreter asks of a tensor, so that its kernels are tested without PyTorch."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

NAMES = {"float32": "fp32", "float16": "fp16", "int32": "i32"}


class HostTensor:
    """The interpreter copies tensors to the host and back; here they are on it, so that both do nothing."""

    def __init__(self, array: NDArray[Any], address: int | None = None) -> None:
        assert array.flags.c_contiguous
        self.array = array
        self.shape = array.shape
        self.dtype = NAMES[array.dtype.name]
        self._address = array.ctypes.data if address is None else address

    def data_ptr(self) -> int:
        return self._address

    def untyped_storage(self) -> "HostTensor":
        return self

    def cpu(self) -> "HostTensor":
        return self

    def copy_(self, _other: "HostTensor") -> None:
        pass

    def new_empty(self, _size: int, device: str) -> "HostTensor":
        assert device == "cpu"
        return HostTensor(np.empty(0, self.array.dtype))

    def set_(self, storage: "HostTensor", offset: int, _size: Any, _stride: Any) -> None:
        self._address = storage.data_ptr() + offset * self.array.itemsize

    def storage_offset(self) -> int:
        return 0

    def size(self) -> tuple[int, ...]:
        return self.shape

    def stride(self) -> tuple[int, ...]:
        return tuple(step // self.array.itemsize for step in self.array.strides)
