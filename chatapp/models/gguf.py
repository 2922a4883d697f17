"""The header of a GGUF file, read with `struct` alone: enough to say early that a file is not a model.

The engine finds what needs the whole file (truncated tensors, an architecture that llama.cpp does not know). The
format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import mmap
import re
import stat
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from chatapp.errors import ModelError

_HEAD = struct.Struct("<4sIQQ")  # magic, version, tensors, metadata pairs
_VERSIONS = (2, 3)
_MAX_TENSORS = 1_000_000
_MAX_METADATA_BYTES = 64 << 20
_SPLIT = re.compile(r"(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})\.gguf", re.IGNORECASE)

_LOOKS_LIKE: tuple[tuple[Callable[[bytes], bool], str], ...] = (
    (lambda head: head.startswith(b"version https://git-lfs"), "a Git LFS pointer, not the file itself"),
    (lambda head: head.lstrip().lower().startswith((b"<!doctype html", b"<html")), "an HTML page"),
    (lambda head: head[8:9] == b"{", "a safetensors file, which must be converted to GGUF first"),
    (lambda head: head.startswith((b"lmgg", b"fmgg", b"tjgg", b"algg")), "an old GGML file, older than GGUF"),
    (lambda head: head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")), "a PyTorch or zip file"),
    (lambda head: head.startswith(b"\x1f\x8b"), "a gzip file"),
    (lambda head: head.lstrip().startswith((b"{", b"[")), "a JSON file"),
)


def check_gguf(path: Path) -> None:
    """Raise ModelError, saying what is wrong, unless `path` is a readable file that begins like a GGUF.

    For a model that is split into parts, `path` must be the first one, with the others beside it.
    """
    head, size = _read_head(path)
    if size == 0:
        _refuse(path, "is empty", "Download it again.")
    if not head.startswith(b"GGUF"):
        like = next((what for test, what in _LOOKS_LIKE if test(head)), None)
        _refuse(
            path, f"is not a GGUF file; it looks like {like}" if like else "is not a GGUF file", "Name a GGUF file."
        )
    if len(head) < _HEAD.size:
        _refuse(path, f"is truncated after {size} bytes", "Download it again.")
    _, version, tensors, _ = _HEAD.unpack_from(head)
    if version not in _VERSIONS:
        if int.from_bytes(version.to_bytes(4, "little"), "big") in _VERSIONS:
            _refuse(path, "is a big-endian GGUF", "Download the little-endian version.")
        _refuse(
            path,
            f"is a GGUF of version {version}; only versions 2 and 3 are supported",
            "Download a newer version of the file.",
        )
    split = _SPLIT.fullmatch(path.name)
    if split is None and tensors == 0:
        _refuse(path, "contains no tensors: it is a vocabulary, not a model", "Name the GGUF of the model itself.")
    if tensors > _MAX_TENSORS:
        _refuse(path, f"is damaged: its header claims {tensors} tensors", "Download it again.")
    if split is not None:
        _check_parts(path, split)


def parts(path: Path) -> list[Path]:
    """All files of the model whose first (or only) file is `path`, in order; each may be missing."""
    return [path.with_name(name) for name in part_names(path.name)]


def part_names(name: str) -> list[str]:
    """The names of all parts of a split model, from any one of them; `[name]` where it is not split."""
    split = _SPLIT.fullmatch(name)
    if split is None:
        return [name]
    count = int(split["count"])
    return [f"{split['stem']}-{index:05}-of-{count:05}{name[-5:]}" for index in range(1, count + 1)]


def stem(name: str) -> str:
    """The file's name without `.gguf` and without the number of its part."""
    split = _SPLIT.fullmatch(name)
    return split["stem"] if split else re.sub(r"\.gguf$", "", name, flags=re.IGNORECASE)


def quantization(path: Path) -> str | None:
    """How the weights are stored, from the file's own metadata ("Q4_K_M"); None where it does not say."""
    try:
        if not path.is_file():  # opening a pipe would block forever
            return None
        length = min(path.stat().st_size, _MAX_METADATA_BYTES)
        with path.open("rb") as file, mmap.mmap(file.fileno(), length, access=mmap.ACCESS_READ) as data:
            return FILE_TYPES.get(_find_file_type(data))
    except (OSError, ValueError, OverflowError, struct.error):
        return None


# The names of llama.cpp's `llama_ftype`, the values of `general.file_type`.
FILE_TYPES = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S", 12: "Q3_K_M",
    13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS",
    21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0", 38: "MXFP4_MOE",
}  # fmt: skip

_STRING, _ARRAY = 8, 9
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
"""Bytes of each scalar value type of GGUF metadata."""


def _find_file_type(data: mmap.mmap) -> int:
    """The value of `general.file_type`, -1 where there is none. A damaged file raises one of those caught above."""
    magic, version, _, pairs = _HEAD.unpack_from(data)
    if magic != b"GGUF" or version not in _VERSIONS:
        return -1
    at = _HEAD.size
    for _ in range(pairs):
        (length,) = struct.unpack_from("<Q", data, at)
        key = data[at + 8 : at + 8 + length]
        (kind,) = struct.unpack_from("<I", data, at + 8 + length)
        at += 8 + length + 4
        if key == b"general.file_type" and kind == 4:
            return int.from_bytes(data[at : at + 4], "little")
        at = _skip(data, at, kind)
    return -1


def _skip(data: mmap.mmap, at: int, kind: int) -> int:
    """The offset after the value of type `kind` that begins at `at`."""
    if kind == _STRING:
        return at + 8 + struct.unpack_from("<Q", data, at)[0]
    if kind == _ARRAY:
        element, count = struct.unpack_from("<IQ", data, at)
        at += 12
        if element in _SIZES:
            return at + _SIZES[element] * count
        if element != _STRING:
            raise ValueError("a nested array")
        # Vocabularies hold up to a few hundred thousand strings; the end of the mapping stops a false count.
        for _ in range(count):
            at += 8 + struct.unpack_from("<Q", data, at)[0]
        return at
    if kind not in _SIZES:
        raise ValueError("an unknown type")
    return at + _SIZES[kind]


def _read_head(path: Path) -> tuple[bytes, int]:
    """The first bytes of the file, and its size in bytes."""
    try:
        facts = path.stat()
        if stat.S_ISDIR(facts.st_mode):
            _refuse(path, "is a folder", "Name the GGUF file in it.")
        if not stat.S_ISREG(facts.st_mode):  # opening a pipe would block forever
            _refuse(path, "is not a regular file", "Name a GGUF file.")
        with path.open("rb") as file:
            return file.read(512), facts.st_size
    except FileNotFoundError:
        raise ModelError(
            f"There is no file {path}.", "`swachat models list` shows the models on this machine."
        ) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ModelError(f"{path} cannot be read: {reason}.", "Check its name and permissions.") from error


def _check_parts(path: Path, split: re.Match[str]) -> None:
    index, count = int(split["index"]), int(split["count"])
    siblings = parts(path)
    if index != 1:
        first = siblings[0].name if siblings else "the first"
        _refuse(path, f"is part {index} of {count}", f"Name the first part: {first}.")
    missing = [part.name for part in siblings if not part.is_file()]
    if missing:
        _refuse(
            path, f"is the first of {count} parts, and {', '.join(missing)} is missing beside it", "Download it again."
        )


def _refuse(path: Path, what: str, todo: str) -> NoReturn:
    raise ModelError(f"{path} {what}.", todo)
