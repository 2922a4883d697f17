"""A GGUF's metadata and tensor table, read by ggml's own reader (gguf.h) without loading a weight."""

import re
from dataclasses import dataclass
from pathlib import Path

from chatapp.engine.native.symbols import SIGNATURES, GgufInitParams, function
from chatapp.errors import ModelError

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
        return str(self.values.get("general.architecture", "unknown"))

    def get(self, key: str) -> Value | None:
        """The architecture's own value, such as `block_count`."""
        return self.values.get(f"{self.architecture}.{key}")

    def number(self, key: str) -> int | None:
        """`get` as a whole number; the largest of a per-layer array."""
        value = self.get(key)
        if isinstance(value, list):
            return int(max(value)) if value else None
        return int(value) if isinstance(value, int | float) else None

    def fraction(self, key: str) -> float | None:
        """`get` as a number."""
        value = self.get(key)
        return float(value) if isinstance(value, int | float) else None


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
    count = meta.values.get("split.count")
    name = _SPLIT.fullmatch(meta.path.name)
    if not isinstance(count, int) or count < 2 or name is None:
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
