"""Numbers that Numba lacks: 16-bit floats, blocks of q8_0, and exponentials that run in lanes."""

import math
import platform
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import config as numba_config
from numba.extending import intrinsic
from numpy.typing import NDArray

from kernels.fast.jit.compiler import compiled, exact, inlined

F32, F16, BF16, Q8_0 = range(4)
Q8_0_BYTES, Q8_0_VALUES = 34, 32
"""block_q8_0 in ggml-common.h: a float16 scale, then 32 signed bytes."""

_UP = np.float32(2.0**112)  # from float16's exponent bias (15) to float32's (127)
_LOG2_E = np.float32(1 / math.log(2))
_LN_2_HIGH = np.float32(0.693359375)  # 355/512: n times it is exact
_LN_2_LOW = np.float32(math.log(2) - 0.693359375)
_ROUND = np.float32(1.5 * 2**23)  # adding it leaves the nearest integer in the low bits of the float
_SMALLEST, _LARGEST = np.float32(-87.0), np.float32(88.0)
_HALF, _ONE, _TWO = np.float32(0.5), np.float32(1.0), np.float32(2.0)
# (e^r - 1 - r) / r² on |r| <= ln 2 / 2: Taylor's next term is below 2⁻²⁷ of e^r.
_C3, _C4, _C5, _C6, _C7 = (np.float32(1 / math.factorial(n)) for n in range(3, 8))


def _instruction(result: Any, argument: Any, emit: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    """A function of one `argument` that is what `emit` writes with LLVM's builder."""

    def typed(_typing: Any, _value: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return emit(builder, arguments[0])

        return result(argument), generate

    return cast(Callable[..., Any], intrinsic(typed))


float_of = _instruction(types.float32, types.uint32, lambda llvm, bits: llvm.bitcast(bits, ir.FloatType()))
bits_of = _instruction(types.uint32, types.float32, lambda llvm, value: llvm.bitcast(value, ir.IntType(32)))
half_by_instruction = _instruction(
    types.float32, types.uint16, lambda llvm, bits: llvm.fpext(llvm.bitcast(bits, ir.HalfType()), ir.FloatType())
)


@exact
def half_by_bits(bits: Any) -> Any:
    """float16 bits to float32 where the processor has no instruction for it: 2.5 times slower in L2, 1.4 in memory."""
    wide = np.uint32(bits)
    size = bits_of(float_of(np.uint32((wide & np.uint32(0x7FFF)) << np.uint32(13))) * _UP)
    special = np.uint32(0x7F800000) if (wide & np.uint32(0x7C00)) == np.uint32(0x7C00) else np.uint32(0)
    sign = np.uint32((wide & np.uint32(0x8000)) << np.uint32(16))
    return float_of(np.uint32(size | special | sign))


def has_half_instruction() -> bool:
    """Whether LLVM can widen a float16 here by itself; elsewhere it would call a function that nobody has."""
    config = cast(Any, numba_config)
    if config.CPU_NAME or config.CPU_FEATURES:
        return False  # somebody compiles for another machine
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return platform.machine().lower() in ("aarch64", "arm64")
    return bool(cast(Any, llvmlite.binding).get_host_cpu_features().get("f16c"))


half: Callable[[Any], Any] = half_by_instruction if has_half_instruction() else half_by_bits


class Rows(NamedTuple):
    """Keys or values of one layer as they lie in memory, flat and in the four ways to read them; one of them counts.

    All four are arguments of every kernel, so that a kernel is compiled once and not for each type of cache.
    """

    kind: int
    """F32, F16, BF16 or Q8_0."""
    head_step: int
    cell_step: int
    """The row of a cell begins at item head · head_step + cell · cell_step; of bytes for Q8_0."""
    f32: NDArray[np.float32]
    f16: NDArray[np.int16]
    """Bits: Numba knows no 16-bit floats."""
    bf16: NDArray[np.uint16]
    q8_0: NDArray[np.uint8]


@compiled
def load_rows(rows: Any, head: int, cells: Any, out: Any) -> None:
    """The rows of `cells` in float32, one in each row of `out`."""
    dim = out.shape[1]
    start = head * rows.head_step
    # Many at a time: to hand over `rows` costs as much as to widen one.
    if rows.kind == F16:
        for j in range(len(cells)):
            here = start + cells[j] * rows.cell_step
            _load_f16(rows.f16[here : here + dim], out[j])
    elif rows.kind == BF16:
        for j in range(len(cells)):
            here = start + cells[j] * rows.cell_step
            _load_bf16(rows.bf16[here : here + dim], out[j])
    elif rows.kind == Q8_0:
        for j in range(len(cells)):
            here = start + cells[j] * rows.cell_step
            _load_q8_0(rows.q8_0[here : here + dim // Q8_0_VALUES * Q8_0_BYTES], out[j])
    else:
        for j in range(len(cells)):
            here = start + cells[j] * rows.cell_step
            copy(rows.f32[here : here + dim], out[j])


@inlined
def copy(row: Any, out: Any) -> None:
    """`row` to `out`."""
    for i in range(len(out)):
        out[i] = row[i]


@inlined
def _load_f16(row: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = half(np.uint16(row[i]))


@inlined
def _load_bf16(row: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i] = float_of(np.uint32(np.uint32(row[i]) << np.uint32(16)))


@inlined
def _load_q8_0(row: Any, out: Any) -> None:
    for n in range(len(out) // Q8_0_VALUES):
        block = row[n * Q8_0_BYTES : (n + 1) * Q8_0_BYTES]
        scale = half(np.uint16(np.uint16(block[0]) | np.uint16(np.uint16(block[1]) << np.uint16(8))))
        values, part = block[2:], out[n * Q8_0_VALUES : (n + 1) * Q8_0_VALUES]
        for i in range(Q8_0_VALUES):
            part[i] = scale * np.float32(np.int8(values[i]))


@exact
def _split(x: Any) -> Any:
    """(p, 2ⁿ) with e^x = (1 + p) 2ⁿ and |p| < 0.42, for x in the range of a float32's exponent; NaN stays NaN."""
    x = _SMALLEST if x < _SMALLEST else x
    x = _LARGEST if x > _LARGEST else x
    rounded = np.float32(x * _LOG2_E + _ROUND)
    n = np.float32(rounded - _ROUND)
    r = np.float32(x - n * _LN_2_HIGH) - n * _LN_2_LOW
    p = r + r * r * (_HALF + r * (_C3 + r * (_C4 + r * (_C5 + r * (_C6 + r * _C7)))))
    return p, float_of(np.uint32(np.uint32(bits_of(rounded) << np.uint32(23)) + np.uint32(0x3F800000)))


@exact
def exp(x: Any) -> Any:
    """e^x in float32, to a unit in the last place, for x <= 0; 0 below -87. Unlike math.exp it runs in lanes."""
    p, two_to_n = _split(x)
    return np.float32(0) if x < _SMALLEST else two_to_n * p + two_to_n


@exact
def cap(score: Any, softcap: Any) -> Any:
    """softcap · tanh(score / softcap), bounded to ±softcap (Gemma 2); small scores are as exact as large ones."""
    p, two_to_n = _split(_TWO * score / softcap)
    t = two_to_n * p + (two_to_n - _ONE)  # e^2x - 1
    return softcap * (t / (t + _TWO))
