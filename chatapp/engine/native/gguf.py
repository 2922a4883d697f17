"""A GGUF's metadata and tensor table, read by ggml's own reader (gguf.h) without loading a weight."""

import math
import re
from dataclasses import dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Final

from chatapp.engine.native.symbols import SIGNATURES, GgufInitParams, function
from chatapp.errors import ModelError
from chatapp.text import LONGEST_NAME, one_line

LONGEST_ARCHITECTURE: Final = 64
"""llama.cpp has a fixed number of bytes for a key that begins with it."""
MOST: Final = 2**31 - 1
"""The largest count: llama.cpp holds them in 32 bits."""
# enum gguf_type of gguf.h: the scalars, by the name of their getter.
_SCALARS = dict(enumerate(("u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool"))) | {10: "u64", 11: "i64", 12: "f64"}
_STRING, _ARRAY = 8, 9
_LONGEST_ARRAY = 4096  # enough for per-layer arrays; vocabularies are longer and not needed
_SPLIT = re.compile(r"(.+)-00001-of-\d{5}\.gguf")

Value = int | float | bool | str | list[int] | list[float] | list[bool]


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table. `kind` is a ggml_type, `shape` is in ggml's order, the fastest dimension first."""

    kind: int
    shape: tuple[int, int, int, int]
    offset: int
    """First byte, from the beginning of the file."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GgufMeta:
    """`values` by key (without long arrays), tensors by name, and the number of tokens in the vocabulary."""

    path: Path
    values: dict[str, Value]
    tensors: dict[str, TensorInfo]
    n_vocab: int | None

    @property
    def architecture(self) -> str:
        """`general.architecture`, "unknown" where the file does not say."""
        name = self._of("general.architecture", str, "text") or "unknown"
        if len(name) > LONGEST_ARCHITECTURE:
            raise self._wrong("general.architecture", name, "the name of an architecture")
        return name

    @property
    def name(self) -> str | None:
        """The beginning of `general.name`, for data: what is shown passes `one_line` too."""
        name = self._of("general.name", str, "text")
        return None if name is None else name[:LONGEST_NAME]

    def text(self, key: str) -> str | None:
        """The architecture's own text, such as `rope.scaling.type`. ModelError where it is none."""
        return self._of(f"{self.architecture}.{key}", str, "text")

    def number(self, key: str) -> int | None:
        """The architecture's own count, such as `block_count`; the largest of a per-layer array. ModelError where it is
        none that llama.cpp can hold.
        """
        full = f"{self.architecture}.{key}"
        value = self.values.get(full)
        if isinstance(value, list) and value:
            return max(self._count(full, each) for each in value)
        return None if value is None else self._count(full, value)

    def fraction(self, key: str) -> float | None:
        """The architecture's own number, such as `rope.scaling.factor`. ModelError where it is none, or not finite."""
        full = f"{self.architecture}.{key}"
        value = self._of(full, int | float, "a number")
        if value is not None and not math.isfinite(value):
            raise self._wrong(full, value, "a finite number")
        return None if value is None else float(value)

    @property
    def split_count(self) -> int | None:
        """The number of files that the model is split into."""
        value = self.values.get("split.count")
        return None if value is None else self._count("split.count", value)

    def _of(self, key: str, kind: "type[str] | UnionType", what: str) -> Any:
        """The value of a key if it is of this kind. GGUF keeps truth values apart from numbers."""
        value = self.values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, kind)):
            raise self._wrong(key, value, what)
        return value

    def _count(self, key: str, value: Value) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST:
            raise self._wrong(key, value, f"a whole number from 0 to {MOST}")
        return value

    def _wrong(self, key: str, value: Value, wanted: str) -> ModelError:
        shown = "a list" if isinstance(value, list) else one_line(repr(value), 40)
        return ModelError(
            f"{self.path} is damaged: its metadata has {shown} for {one_line(key)}, which must be {wanted}.",
            "Download it again, or choose another file.",
        )


def read(path: Path) -> GgufMeta:
    """The metadata of `path`. ModelError where it is not a GGUF, damaged, or shorter than its tensor table says."""
    handle = function("gguf_init_from_file")(str(path).encode(), GgufInitParams(True, None))
    if not handle:
        raise ModelError(
            f"{path} is not a readable GGUF file: its header is damaged or truncated.", "Download it again."
        )
    try:
        values: dict[str, Value] = {}
        n_vocab: int | None = None
        for i in range(function("gguf_get_n_kv")(handle)):
            key = function("gguf_get_key")(handle, i).decode(errors="replace")
            if key == "tokenizer.ggml.tokens":
                n_vocab = int(function("gguf_get_arr_n")(handle, i))
            value = _value(handle, i)
            if value is not None:
                values[key] = value
        tensors = {
            function("gguf_get_tensor_name")(handle, i).decode(errors="replace"): _tensor(handle, i)
            for i in range(function("gguf_get_n_tensors")(handle))
        }
        start = int(function("gguf_get_data_offset")(handle))
    finally:
        function("gguf_free")(handle)
    actual = path.stat().st_size
    end = max((tensor.offset + tensor.size_bytes for tensor in tensors.values()), default=start)
    if actual < end:
        raise ModelError(f"{path} is truncated: it has {actual:,} bytes and needs {end:,}.", "Download it again.")
    return GgufMeta(path, values, tensors, n_vocab)


def parts(meta: GgufMeta) -> list[GgufMeta]:
    """All files of a model that is split (`NAME-00001-of-00003.gguf`), this first one included."""
    count = meta.split_count or 0
    name = _SPLIT.fullmatch(meta.path.name)
    if count < 2 or name is None:
        return [meta]
    others = (meta.path.with_name(f"{name[1]}-{part:05}-of-{count:05}.gguf") for part in range(2, count + 1))
    return [meta, *(read(path) for path in others)]


def _tensor(handle: int, i: int) -> TensorInfo:
    ne = function("gguf_get_tensor_ne")(handle, i)
    return TensorInfo(
        kind=int(function("gguf_get_tensor_type")(handle, i)),
        shape=(int(ne[0]), int(ne[1]), int(ne[2]), int(ne[3])),
        offset=int(function("gguf_get_data_offset")(handle)) + int(function("gguf_get_tensor_offset")(handle, i)),
        size_bytes=int(function("gguf_get_tensor_size")(handle, i)),
    )


def _value(handle: int, i: int) -> Value | None:
    kind = int(function("gguf_get_kv_type")(handle, i))
    if kind == _STRING:
        return str(function("gguf_get_val_str")(handle, i).decode(errors="replace"))
    if kind in _SCALARS:
        value: int | float | bool = function(f"gguf_get_val_{_SCALARS[kind]}")(handle, i)
        return value
    if kind == _ARRAY:
        inner, count = int(function("gguf_get_arr_type")(handle, i)), int(function("gguf_get_arr_n")(handle, i))
        if inner in _SCALARS and 0 < count <= _LONGEST_ARRAY:
            scalar = SIGNATURES[f"gguf_get_val_{_SCALARS[inner]}"].result
            array = (scalar * count).from_address(function("gguf_get_arr_data")(handle, i))
            return list(array)
    return None
