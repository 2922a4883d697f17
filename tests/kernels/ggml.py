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

import gguf
import numpy as np
from numpy.typing import NDArray

from kernels import Rope, Yarn, dequantize

MEMORY_BYTES = 16 * 2**20
F32, F16, I32 = 0, 1, 26  # enum ggml_type, as gguf.GGMLQuantizationType has it
TYPES = {"float32": F32, "float16": F16, "int32": I32}
MODES = {"normal": 0, "neox": 2}  # GGML_ROPE_TYPE_*


Q8_1 = np.dtype([("scale", np.float16), ("sum", np.float16), ("values", np.int8, 32)])
Q8_K = np.dtype([("scale", np.float32), ("values", np.int8, 256), ("sums", np.int16, 16)])
"""Blocks of activations, in ggml-common.h: never in a file, so that `gguf` does not read them."""


class _InitParams(ctypes.Structure):
    _fields_ = [("mem_size", c_size_t), ("mem_buffer", c_void_p), ("no_alloc", c_bool)]


_FROM_FLOAT = ctypes.CFUNCTYPE(None, c_void_p, c_void_p, c_int64)


class _CpuTraits(ctypes.Structure):
    _fields_ = [("from_float", _FROM_FLOAT), ("vec_dot", c_void_p), ("vec_dot_type", c_int), ("nrows", c_int64)]


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
_mul_mat = _function(BASE, "ggml_mul_mat", c_void_p, *[c_void_p] * 3)
_quantize = _function(
    BASE, "ggml_quantize_chunk", c_size_t, c_int, c_void_p, c_void_p, *[c_int64] * 3, ctypes.POINTER(c_float)
)
_row_size = _function(BASE, "ggml_row_size", c_size_t, c_int, c_int64)
_cpu_traits = _function(CPU, "ggml_get_type_traits_cpu", ctypes.POINTER(_CpuTraits), c_int)


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
    yarn = how.yarn or Yarn(n_ctx_orig=1, ext_factor=0.0)
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


def quantized(values: NDArray[np.float32], type_name: str) -> NDArray[np.uint8]:
    """`ggml_quantize_chunk` of `values (n_row, n_column)`: `(n_row, row_bytes)`, as a GGUF would hold them."""
    kind = gguf.GGMLQuantizationType[type_name].value
    blocks = np.zeros((len(values), _row_size(kind, values.shape[1])), np.uint8)
    assert _quantize(kind, values.ctypes.data, blocks.ctypes.data, 0, *values.shape, None) == blocks.nbytes
    return blocks


def product(blocks: NDArray[np.uint8], type_name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """`ggml_mul_mat` of quantized weights `blocks (n_out, row_bytes)` with `x (n_token, n_in)`: `(n_token, n_out)`."""
    kind = gguf.GGMLQuantizationType[type_name].value
    with _context() as context:
        weights = _new_tensor(context, kind, 2, (c_int64 * 2)(x.shape[1], len(blocks)))
        ctypes.memmove(_data(weights), blocks.ctypes.data, blocks.nbytes)
        return _computed(context, _mul_mat(context, weights, _tensor(context, x)), (len(x), len(blocks)))


def rounded_for(type_name: str, x: NDArray[np.float32]) -> NDArray[np.float32]:
    """What `x (n_token, n_in)` becomes before ggml multiplies it with weights of this type on the CPU: vec_dot_type."""
    kind = _cpu_traits(gguf.GGMLQuantizationType[type_name].value).contents.vec_dot_type
    blocks = np.zeros((len(x), _row_size(kind, x.shape[1])), np.uint8)
    for row, out in zip(x, blocks, strict=True):
        _cpu_traits(kind).contents.from_float(row.ctypes.data, out.ctypes.data, len(row))
    name = gguf.GGMLQuantizationType(kind).name
    if name not in ("Q8_1", "Q8_K"):
        return dequantize(blocks, name)
    fields = blocks.view(Q8_1 if name == "Q8_1" else Q8_K)
    return (fields["scale"].astype(np.float32)[..., np.newaxis] * fields["values"]).reshape(x.shape)


def _ggml_mask(mask: NDArray[np.bool_]) -> NDArray[np.float16]:
    return np.where(mask, 0, -np.inf).astype(np.float16)
