"""ggml's CPU flash attention through its C interface, prepared once and run many times."""

import ctypes
from ctypes import c_bool, c_float, c_int, c_int64, c_size_t, c_void_p
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

F32, F16 = 0, 1  # enum ggml_type
OVERHEAD_BYTES = 64 * 2**20  # tensors' headers, the graph, the work space of the threads


class _InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


def _library(name: str) -> ctypes.CDLL:
    spec = find_spec("llama_cpp")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("llama_cpp is not installed")
    (path,) = (p for p in (Path(spec.origin).parent / "lib").iterdir() if p.stem == f"lib{name}")
    return ctypes.CDLL(str(path))


class GgmlAttention:
    """`ggml_flash_attn_ext` of one layer, as llama.cpp calls it: q in float32, k, v and the mask in float16.

    Shapes are those of `kernels.attend`; `threads` run it. It holds copies of everything until it is closed.
    """

    def __init__(
        self, q: NDArray[Any], k: NDArray[Any], v: NDArray[Any], mask: NDArray[np.bool_], threads: int
    ) -> None:
        base, cpu = _library("ggml-base"), _library("ggml-cpu")
        cpu.ggml_cpu_init()
        self._shape = (q.shape[1], q.shape[0], v.shape[2])
        self._threads = threads
        self._free = base["ggml_free"]
        self._free.argtypes = [c_void_p]
        self._compute = cpu["ggml_graph_compute_with_ctx"]
        self._compute.argtypes = [c_void_p, c_void_p, c_int]
        self._data = base["ggml_get_data"]
        self._data.restype, self._data.argtypes = c_void_p, [c_void_p]
        parts = [
            q.astype(np.float32),
            k.astype(np.float16),
            v.astype(np.float16),
            np.where(mask, 0, -np.inf).astype(np.float16),
        ]
        n_bytes = sum(part.nbytes for part in parts) + 4 * int(np.prod(self._shape)) + OVERHEAD_BYTES
        init = base["ggml_init"]
        init.restype, init.argtypes = c_void_p, [_InitParams]
        self._context = init(_InitParams(n_bytes, None, False))
        flash = base["ggml_flash_attn_ext"]
        flash.restype, flash.argtypes = c_void_p, [c_void_p] * 5 + [c_float] * 3
        tensors = [self._tensor(base, part) for part in parts]
        self._out: int = flash(self._context, *tensors, 1 / q.shape[2] ** 0.5, 0.0, 0.0)
        new_graph, expand = base["ggml_new_graph"], base["ggml_build_forward_expand"]
        new_graph.restype, new_graph.argtypes = c_void_p, [c_void_p]
        expand.argtypes = [c_void_p, c_void_p]
        self._graph: int = new_graph(self._context)
        expand(self._graph, self._out)

    def run(self) -> None:
        if self._compute(self._context, self._graph, self._threads) != 0:
            raise RuntimeError("ggml could not compute the graph")

    def output(self) -> NDArray[np.float32]:
        """`(n_head, n_query, v_dim)` of the last run."""
        out = np.empty(self._shape, np.float32)
        ctypes.memmove(out.ctypes.data, self._data(self._out), out.nbytes)
        return out.swapaxes(0, 1)

    def close(self) -> None:
        self._free(self._context)

    def _tensor(self, base: ctypes.CDLL, values: NDArray[Any]) -> int:
        new = base["ggml_new_tensor"]
        new.restype, new.argtypes = c_void_p, [c_void_p, c_int, c_int, ctypes.POINTER(c_int64)]
        values = np.ascontiguousarray(values)
        sizes = (c_int64 * values.ndim)(*reversed(values.shape))
        kind = F16 if values.dtype == np.float16 else F32
        tensor: int = new(self._context, kind, values.ndim, sizes)
        ctypes.memmove(self._data(tensor), values.ctypes.data, values.nbytes)
        return tensor
