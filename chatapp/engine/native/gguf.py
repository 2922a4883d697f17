"""A GGUF's metadata and tensor table, read by ggml's own reader (gguf.h) without loading a weight."""

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from chatapp.engine.native.llama import ggml_library
from chatapp.errors import ModelError

# enum gguf_type of gguf.h, and how to read each scalar.
_SCALARS = {
    0: ("u8", ctypes.c_uint8),
    1: ("i8", ctypes.c_int8),
    2: ("u16", ctypes.c_uint16),
    3: ("i16", ctypes.c_int16),
    4: ("u32", ctypes.c_uint32),
    5: ("i32", ctypes.c_int32),
    6: ("f32", ctypes.c_float),
    7: ("bool", ctypes.c_bool),
    10: ("u64", ctypes.c_uint64),
    11: ("i64", ctypes.c_int64),
    12: ("f64", ctypes.c_double),
}
_STRING, _ARRAY = 8, 9
_LONGEST_ARRAY = 4096  # per-layer arrays; vocabularies are longer and not wanted here
_SPLIT = re.compile(r"(.+)-00001-of-\d{5}\.gguf")

Value = int | float | bool | str | list[int] | list[float] | list[bool]


class _InitParams(ctypes.Structure):
    """struct gguf_init_params."""

    _fields_ = [("no_alloc", ctypes.c_bool), ("ctx", ctypes.POINTER(ctypes.c_void_p))]


class TensorHead(ctypes.Structure):
    """How struct ggml_tensor begins (ggml.h)."""

    _fields_ = [("type", ctypes.c_int), ("buffer", ctypes.c_void_p), ("ne", ctypes.c_int64 * 4)]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One row of the tensor table. `kind` is a ggml_type, `shape` is in ggml's order, the fastest dimension first."""

    kind: int
    shape: tuple[int, int, int, int]
    offset: int
    """First byte, from the beginning of the file."""
    size_bytes: int


@dataclass(frozen=True, slots=True)
class GgufMeta:
    """`values` by key (long arrays left out), tensors by name, and the number of tokens in the vocabulary."""

    path: Path
    values: dict[str, Value]
    tensors: dict[str, Tensor]
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

    @property
    def tensor_bytes(self) -> int:
        """Bytes of all tensors in the file."""
        return sum(tensor.size_bytes for tensor in self.tensors.values())


def read(path: Path) -> GgufMeta:
    """The metadata of `path`. ModelError where it is no GGUF, damaged, or shorter than its own tensor table says."""
    lib = ggml_library()
    _declare(lib)
    table = ctypes.c_void_p()
    handle = lib.gguf_init_from_file(str(path).encode(), _InitParams(True, ctypes.pointer(table)))
    if not handle:
        raise ModelError(f"{path} is no readable GGUF file: its header is damaged or cut off.", "Download it again.")
    try:
        values: dict[str, Value] = {}
        n_vocab: int | None = None
        for i in range(lib.gguf_get_n_kv(handle)):
            key = lib.gguf_get_key(handle, i).decode(errors="replace")
            if key == "tokenizer.ggml.tokens":
                n_vocab = int(lib.gguf_get_arr_n(handle, i))
            value = _value(lib, handle, i)
            if value is not None:
                values[key] = value
        tensors = {
            lib.gguf_get_tensor_name(handle, i).decode(errors="replace"): _tensor(lib, handle, table, i)
            for i in range(lib.gguf_get_n_tensors(handle))
        }
        start = int(lib.gguf_get_data_offset(handle))
    finally:
        lib.gguf_free(handle)
        lib.ggml_free(table)
    actual = path.stat().st_size
    end = max((tensor.offset + tensor.size_bytes for tensor in tensors.values()), default=start)
    if actual < end:
        raise ModelError(f"{path} is cut off: it has {actual:,} bytes and needs {end:,}.", "Download it again.")
    return GgufMeta(path, values, tensors, n_vocab)


def parts(meta: GgufMeta) -> list[GgufMeta]:
    """All files of a model that is split (`NAME-00001-of-00003.gguf`), this first one included."""
    count = meta.values.get("split.count")
    name = _SPLIT.fullmatch(meta.path.name)
    if not isinstance(count, int) or count < 2 or name is None:
        return [meta]
    others = (meta.path.with_name(f"{name[1]}-{part:05}-of-{count:05}.gguf") for part in range(2, count + 1))
    return [meta, *(read(path) for path in others)]


def _declare(lib: ctypes.CDLL) -> None:
    lib.gguf_init_from_file.restype = ctypes.c_void_p
    lib.gguf_init_from_file.argtypes = [ctypes.c_char_p, _InitParams]
    lib.gguf_free.argtypes = lib.ggml_free.argtypes = [ctypes.c_void_p]
    lib.ggml_get_tensor.restype = ctypes.POINTER(TensorHead)
    lib.ggml_get_tensor.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    for name in ("gguf_get_n_kv", "gguf_get_n_tensors"):
        getattr(lib, name).restype, getattr(lib, name).argtypes = ctypes.c_int64, [ctypes.c_void_p]
    lib.gguf_get_data_offset.restype, lib.gguf_get_data_offset.argtypes = ctypes.c_size_t, [ctypes.c_void_p]
    indexed = {
        "gguf_get_key": ctypes.c_char_p,
        "gguf_get_kv_type": ctypes.c_int,
        "gguf_get_arr_type": ctypes.c_int,
        "gguf_get_val_str": ctypes.c_char_p,
        "gguf_get_arr_n": ctypes.c_size_t,
        "gguf_get_arr_data": ctypes.c_void_p,
        "gguf_get_tensor_name": ctypes.c_char_p,
        "gguf_get_tensor_offset": ctypes.c_size_t,
        "gguf_get_tensor_size": ctypes.c_size_t,
    } | {f"gguf_get_val_{name}": kind for name, kind in _SCALARS.values()}
    for name, result in indexed.items():
        call = getattr(lib, name)
        call.restype, call.argtypes = result, [ctypes.c_void_p, ctypes.c_int64]


def _tensor(lib: ctypes.CDLL, handle: int, table: ctypes.c_void_p, i: int) -> Tensor:
    head = lib.ggml_get_tensor(table, lib.gguf_get_tensor_name(handle, i)).contents
    return Tensor(
        kind=int(head.type),
        shape=(int(head.ne[0]), int(head.ne[1]), int(head.ne[2]), int(head.ne[3])),
        offset=int(lib.gguf_get_data_offset(handle)) + int(lib.gguf_get_tensor_offset(handle, i)),
        size_bytes=int(lib.gguf_get_tensor_size(handle, i)),
    )


def _value(lib: ctypes.CDLL, handle: int, i: int) -> Value | None:
    kind = int(lib.gguf_get_kv_type(handle, i))
    if kind == _STRING:
        return str(lib.gguf_get_val_str(handle, i).decode(errors="replace"))
    if kind in _SCALARS:
        value: int | float | bool = getattr(lib, f"gguf_get_val_{_SCALARS[kind][0]}")(handle, i)
        return value
    if kind == _ARRAY:
        inner, count = int(lib.gguf_get_arr_type(handle, i)), int(lib.gguf_get_arr_n(handle, i))
        if inner in _SCALARS and 0 < count <= _LONGEST_ARRAY:
            array = ctypes.cast(lib.gguf_get_arr_data(handle, i), ctypes.POINTER(_SCALARS[inner][1]))
            return list(array[:count])
    return None
