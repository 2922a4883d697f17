"""What can compute: the devices that ggml sees, and how many threads a processor is good for."""

import ctypes
import os
import sys
from typing import Final

import psutil

from chatapp import host_memory
from chatapp.protocol.values import Device

KINDS: Final = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accel"}
"""Of enum ggml_backend_dev_type."""


def list_devices(registry: ctypes.CDLL, base: ctypes.CDLL) -> list[Device]:
    """Every device, with its memory in bytes (ggml-backend.h, ggml_backend_dev_*); the libraries are libggml and
    libggml-base.
    """
    registry.ggml_backend_dev_count.restype = ctypes.c_size_t
    registry.ggml_backend_dev_get.restype, registry.ggml_backend_dev_get.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    for call in (base.ggml_backend_dev_name, base.ggml_backend_dev_description):
        call.restype, call.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    base.ggml_backend_dev_type.restype, base.ggml_backend_dev_type.argtypes = ctypes.c_int, [ctypes.c_void_p]
    base.ggml_backend_dev_memory.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
    return [_device(base, registry.ggml_backend_dev_get(index)) for index in range(registry.ggml_backend_dev_count())]


def _device(base: ctypes.CDLL, device: int) -> Device:
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    base.ggml_backend_dev_memory(device, ctypes.byref(free), ctypes.byref(total))
    kind = KINDS.get(base.ggml_backend_dev_type(device), "accel")
    if kind == "cpu":
        # ggml reports a CPU's total as free; the system knows better.
        free.value = min(free.value or sys.maxsize, host_memory.available_bytes())
    return Device(
        name=base.ggml_backend_dev_name(device).decode(errors="replace"),
        description=base.ggml_backend_dev_description(device).decode(errors="replace"),
        kind=kind,
        total_bytes=total.value or None,
        free_bytes=free.value or None,
    )


def default_threads() -> int:
    """Physical cores, but both threads of a single core: decode gained a third from the second one when measured."""
    logical = os.cpu_count() or 1
    return max(psutil.cpu_count(logical=False) or logical, min(logical, 2))
