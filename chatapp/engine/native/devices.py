"""The devices that ggml sees."""

import ctypes
import sys
from typing import Final

from chatapp import host_memory
from chatapp.engine.native.symbols import function
from chatapp.protocol.values import Device

CPU: Final = 0
"""Of enum ggml_backend_dev_type."""
KINDS: Final = {CPU: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}


def device_handles() -> list[int]:
    """ggml's pointers to its devices."""
    return [function("ggml_backend_dev_get")(index) for index in range(function("ggml_backend_dev_count")())]


def devices() -> list[Device]:
    """Every device that ggml sees, with its memory in bytes."""
    return [_device(handle) for handle in device_handles()]


def _device(handle: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    function("ggml_backend_dev_memory")(handle, ctypes.byref(free), ctypes.byref(total))
    kind = KINDS.get(function("ggml_backend_dev_type")(handle), "accel")
    if kind == "cpu":
        # ggml reports a CPU's total memory as free; ask the system.
        free.value = min(free.value or sys.maxsize, host_memory.available_bytes())
    return Device(
        name=function("ggml_backend_dev_name")(handle).decode(errors="replace"),
        description=function("ggml_backend_dev_description")(handle).decode(errors="replace"),
        kind=kind,
        total_bytes=total.value or None,
        free_bytes=free.value or None,
    )
