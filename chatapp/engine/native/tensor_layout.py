"""Whether this build's tensors have the layout of chatapp.engine.native.ggml: ggml makes some, and each field is read
back.
"""

import ctypes
import struct
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from chatapp.engine.native.binding import unknown_build
from chatapp.engine.native.ggml import F16, F32, I32, Tensor
from chatapp.engine.native.symbols import InitParams, function
from chatapp.errors import BuildError

_OBJECT_BYTES: Final = 32
"""sizeof(struct ggml_object), which ggml_tensor_overhead() counts too."""
_ARENA_BYTES: Final = 1 << 15
"""For a few tensors. A field that is read far beyond its tensor is still inside the arena."""
_HEAD_DIM, _CELLS, _VIEWED, _KV_HEADS, _HEADS, _TOKENS = 64, 48, 40, 2, 6, 5
_OFFSET: Final = 2 * _HEAD_DIM * 3
"""The offset of the view in bytes: three rows of F16."""
_PARAMETERS: Final = (0.5, 8.0, 30.0)
"""Scale, ALiBi's bias and the soft cap, in the order of flash attention's parameters."""
_NAME: Final = b"cache_k_l7"
_INPUT_AND_OUTPUT: Final = 3
"""The two flags of enum ggml_tensor_flag together."""


@dataclass(frozen=True, slots=True)
class _Made:
    """Addresses of tensors that ggml made."""

    keys: int
    view: int
    attention: int
    soft_max: int
    sources: tuple[int, ...]
    """Of the attention: query, keys, values, mask, sinks."""
    soft_max_sources: tuple[int, ...]
    buffer: int


@cache
def differences(kind: type[Tensor] = Tensor) -> Mapping[str, str]:
    """How the fields of `kind` differ from what ggml made, by field; empty where they agree. "size" is the struct's,
    "constants" are values of enum ggml_type and ggml_op.
    """
    found: dict[str, str] = {}

    def compare(field: str, read: object, made: object) -> None:
        if read != made and field not in found:
            found[field] = f"{read!r} instead of {made!r}"

    compare("size", ctypes.sizeof(kind), int(function("ggml_tensor_overhead")()) - _OBJECT_BYTES)
    with _tensors() as made:
        keys, view, attention, soft_max = (
            kind.from_address(address) for address in (made.keys, made.view, made.attention, made.soft_max)
        )
        row = 2 * _HEAD_DIM
        data = function("ggml_get_data")(made.keys)
        compare("type", (keys.type, attention.type), (F16, F32))
        compare("buffer", keys.buffer, made.buffer)
        compare("ne", tuple(keys.ne), (_HEAD_DIM, _CELLS, _KV_HEADS, 1))
        compare("nb", tuple(keys.nb), (2, row, row * _CELLS, row * _CELLS * _KV_HEADS))
        compare("op", _operation(view.op), "VIEW")
        compare("op_params", _parameters(attention), _PARAMETERS)
        compare("flags", keys.flags & _INPUT_AND_OUTPUT, _INPUT_AND_OUTPUT)
        compare("src", _sources(attention, 5), made.sources)
        compare("src", _sources(soft_max, 3), made.soft_max_sources)
        compare("view_src", view.view_src, made.keys)
        compare("view_offs", view.view_offs, _OFFSET)
        compare("data", (keys.data, view.data), (data, data + _OFFSET))
        compare("name", keys.name, _NAME)
    names = tuple(function("ggml_type_name")(number).decode() for number in (F32, F16, I32))
    compare("constants", (*names, _operation(0)), ("f32", "f16", "i32", "NONE"))
    return found


def problem(kind: type[Tensor] = Tensor) -> BuildError | None:
    """The error where the layout is unknown or cannot be read; None where it is the expected one."""
    try:
        found = differences(kind)
    except BuildError as error:
        return error
    if not found:
        return None
    told = ", ".join(f"{field} ({how})" for field, how in found.items())
    return unknown_build(f"lays out its tensors differently from what this version of swachat expects: {told}")


@contextmanager
def _tensors() -> Generator[_Made]:
    memory = ctypes.create_string_buffer(_ARENA_BYTES)
    arena = function("ggml_init")(InitParams(_ARENA_BYTES, ctypes.addressof(memory), True))
    buffer = None
    try:

        def new(kind: int, *shape: int) -> int:
            return function("ggml_new_tensor_4d")(arena, kind, *shape, *[1] * (4 - len(shape)))

        row = 2 * _HEAD_DIM
        keys = new(F16, _HEAD_DIM, _CELLS, _KV_HEADS)
        function("ggml_set_name")(keys, _NAME)
        function("ggml_set_input")(keys)
        function("ggml_set_output")(keys)
        shape = (_HEAD_DIM, _VIEWED, _KV_HEADS)
        view = function("ggml_view_3d")(arena, keys, *shape, row, row * _CELLS, _OFFSET)
        query, values = new(F32, _HEAD_DIM, _TOKENS, _HEADS), new(F16, *shape)
        mask, sinks = new(F16, _VIEWED, _TOKENS), new(F32, _HEADS)
        attention = function("ggml_flash_attn_ext")(arena, query, view, values, mask, *_PARAMETERS)
        function("ggml_flash_attn_ext_add_sinks")(attention, sinks)
        scores = new(F32, _VIEWED, _TOKENS, _HEADS)
        soft_max = function("ggml_soft_max_ext")(arena, scores, mask, *_PARAMETERS[:2])
        function("ggml_soft_max_add_sinks")(soft_max, sinks)
        buffer = function("ggml_backend_alloc_ctx_tensors_from_buft")(arena, function("ggml_backend_cpu_buffer_type")())
        sources = (query, view, values, mask, sinks)
        yield _Made(keys, view, attention, soft_max, sources, (scores, mask, sinks), buffer)
    finally:
        if buffer:
            function("ggml_backend_buffer_free")(buffer)
        function("ggml_free")(arena)


def _operation(number: int) -> str:
    """The name of an operation; an unknown number would be read beyond the end of ggml's table."""
    return function("ggml_op_name")(number).decode() if 0 <= number < 64 else str(number)


def _parameters(tensor: Tensor) -> tuple[float, ...]:
    return struct.unpack("3f", struct.pack("3i", *tensor.op_params[:3]))


def _sources(tensor: Tensor, count: int) -> tuple[Any, ...]:
    return tuple(tensor.src[:count])
