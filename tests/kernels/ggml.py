"""ggml's own operations on the CPU, one at a time through its C interface: the witness that the reference has to match.

Shapes are NumPy's, the slowest dimension first; ggml writes them the other way round over the same memory.
"""

import ctypes
from collections.abc import Callable, Generator
from contextlib import contextmanager
from ctypes import c_bool, c_float, c_int, c_int64, c_size_t, c_void_p
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import Rope, Yarn

MEMORY_BYTES = 16 * 2**20
F32, F16, I32 = 0, 1, 26  # enum ggml_type
TYPES = {"float32": F32, "float16": F16, "int32": I32}
MODES = {"normal": 0, "neox": 2}  # GGML_ROPE_TYPE_*


class _InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


def _library(name: str) -> ctypes.CDLL:
    spec = find_spec("llama_cpp")
    assert spec is not None
    assert spec.origin is not None
    (path,) = (p for p in (Path(spec.origin).parent / "lib").iterdir() if p.stem == f"lib{name}")
    return ctypes.CDLL(str(path))


BASE, CPU = _library("ggml-base"), _library("ggml-cpu")
CPU.ggml_cpu_init()


def _function(library: ctypes.CDLL, name: str, result: Any, *arguments: Any) -> Callable[..., Any]:
    function = getattr(library, name)
    function.restype, function.argtypes = result, arguments
    return function


_init = _function(BASE, "ggml_init", c_void_p, _InitParams)
_free = _function(BASE, "ggml_free", None, c_void_p)
_new_tensor = _function(BASE, "ggml_new_tensor", c_void_p, c_void_p, c_int, c_int, ctypes.POINTER(c_int64))
_data = _function(BASE, "ggml_get_data", c_void_p, c_void_p)
_new_graph = _function(BASE, "ggml_new_graph", c_void_p, c_void_p)
_expand = _function(BASE, "ggml_build_forward_expand", None, c_void_p, c_void_p)
_compute = _function(CPU, "ggml_graph_compute_with_ctx", c_int, c_void_p, c_void_p, c_int)
_rope = _function(BASE, "ggml_rope_ext", c_void_p, *[c_void_p] * 4, *[c_int] * 3, *[c_float] * 6)
_soft_max = _function(BASE, "ggml_soft_max_ext", c_void_p, *[c_void_p] * 3, c_float, c_float)
_soft_max_sinks = _function(BASE, "ggml_soft_max_add_sinks", None, c_void_p, c_void_p)
_flash = _function(BASE, "ggml_flash_attn_ext", c_void_p, *[c_void_p] * 5, c_float, c_float, c_float)
_flash_sinks = _function(BASE, "ggml_flash_attn_ext_add_sinks", None, c_void_p, c_void_p)


@contextmanager
def _context() -> Generator[int]:
    context = _init(_InitParams(MEMORY_BYTES, None, False))
    try:
        yield context
    finally:
        _free(context)


def _tensor(context: int, values: NDArray[Any]) -> int:
    values = np.ascontiguousarray(values)
    sizes = (c_int64 * values.ndim)(*reversed(values.shape))
    tensor = _new_tensor(context, TYPES[values.dtype.name], values.ndim, sizes)
    ctypes.memmove(_data(tensor), values.ctypes.data, values.nbytes)
    return tensor


def _computed(context: int, tensor: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    graph = _new_graph(context)
    _expand(graph, tensor)
    assert _compute(context, graph, 1) == 0
    out = np.empty(shape, dtype=np.float32)
    ctypes.memmove(out.ctypes.data, _data(tensor), out.nbytes)
    return out


def rope(x: NDArray[np.float32], positions: NDArray[np.int64], how: Rope) -> NDArray[np.float32]:
    """`ggml_rope_ext` of `x (n_token, n_head, head_dim)`."""
    yarn = how.yarn or Yarn(n_ctx_orig=0, ext_factor=0.0)
    with _context() as context:
        factors = None if how.freq_factors is None else _tensor(context, np.array(how.freq_factors, dtype=np.float32))
        tensors = (_tensor(context, x), _tensor(context, positions.astype(np.int32)), factors)
        scales = (how.base, how.freq_scale, yarn.ext_factor, how.attn_factor, yarn.beta_fast, yarn.beta_slow)
        out = _rope(context, *tensors, how.n_rot, MODES[how.order], yarn.n_ctx_orig, *scales)
        return _computed(context, out, x.shape)


def soft_max(
    scores: NDArray[np.float32], mask: NDArray[np.bool_], scale: float, sinks: NDArray[np.float32] | None
) -> NDArray[np.float32]:
    """`ggml_soft_max_ext` of `scores (n_head, n_query, n_key)`: the node kq_soft_max."""
    with _context() as context:
        out = _soft_max(context, _tensor(context, scores), _tensor(context, _ggml_mask(mask)), scale, 0.0)
        if sinks is not None:
            _soft_max_sinks(out, _tensor(context, sinks))
        return _computed(context, out, scores.shape)


def flash_attention(
    q: NDArray[np.float32],
    k: NDArray[np.float32],
    v: NDArray[np.float32],
    mask: NDArray[np.bool_],
    *,
    scale: float,
    softcap: float,
    sinks: NDArray[np.float32] | None,
) -> NDArray[np.float32]:
    """`ggml_flash_attn_ext` in the shapes of `kernels.attend`; `softcap` 0 is none."""
    n_head, n_query, _ = q.shape
    with _context() as context:
        tensors = (_tensor(context, part) for part in (q, k, v, _ggml_mask(mask)))
        out = _flash(context, *tensors, scale, 0.0, softcap)
        if sinks is not None:
            _flash_sinks(out, _tensor(context, sinks))
        return _computed(context, out, (n_query, n_head, v.shape[-1])).swapaxes(0, 1)


def _ggml_mask(mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    return np.where(mask, 0, -np.inf).astype(np.float16)
