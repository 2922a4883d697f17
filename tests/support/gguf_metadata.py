"""The metadata of a GGUF file, taken out and put back with another value, as no writer would write it."""

import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

STRING, ARRAY = 8, 9
PACKED: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""How `struct` writes each scalar value type."""
_ALIGNMENT = 32


def string(text: bytes) -> bytes:
    """A text as it is in the file."""
    return struct.pack("<Q", len(text)) + text


def scalar(kind: int, value: Any) -> bytes:
    """A number as it is in the file."""
    return struct.pack(f"<{PACKED[kind]}", value)


def array(kind: int, values: list[Any]) -> bytes:
    """A list of numbers or of texts as it is in the file."""
    packed = (string(value) if kind == STRING else scalar(kind, value) for value in values)
    return struct.pack("<IQ", kind, len(values)) + b"".join(packed)


@dataclass
class Metadata:
    """The pairs of a file by key, as type and bytes, and what is around them."""

    head: bytes
    pairs: dict[bytes, tuple[int, bytes]]
    table: bytes
    """The tensor table."""
    data: bytes

    @classmethod
    def of(cls, path: Path) -> "Metadata":
        """That of a valid file."""
        whole = path.read_bytes()
        n_tensors, n_pairs = struct.unpack_from("<QQ", whole, 8)
        at, pairs = 24, dict[bytes, tuple[int, bytes]]()
        for _ in range(n_pairs):
            key, at = _string(whole, at)
            (kind,) = struct.unpack_from("<I", whole, at)
            end = _end(whole, at + 4, kind)
            pairs[key] = (kind, whole[at + 4 : end])
            at = end
        begin = at
        for _ in range(n_tensors):
            _, at = _string(whole, at)
            (n_dims,) = struct.unpack_from("<I", whole, at)
            at += 4 + 8 * n_dims + 4 + 8
        return cls(whole[:16], pairs, whole[begin:at], whole[_aligned(at) :])

    def copy(self) -> "Metadata":
        """One whose pairs can be changed."""
        return replace(self, pairs=dict(self.pairs))

    def write(self, path: Path) -> Path:
        """Put it together again."""
        pairs = b"".join(string(key) + struct.pack("<I", kind) + value for key, (kind, value) in self.pairs.items())
        before = self.head + struct.pack("<Q", len(self.pairs)) + pairs + self.table
        path.write_bytes(before.ljust(_aligned(len(before)), b"\0") + self.data)
        return path


def _string(whole: bytes, at: int) -> tuple[bytes, int]:
    (length,) = struct.unpack_from("<Q", whole, at)
    return whole[at + 8 : at + 8 + length], at + 8 + length


def _end(whole: bytes, at: int, kind: int) -> int:
    if kind == STRING:
        return _string(whole, at)[1]
    if kind != ARRAY:
        return at + struct.calcsize(f"<{PACKED[kind]}")
    inner, count = struct.unpack_from("<IQ", whole, at)
    at += 12
    if inner != STRING:
        return at + count * struct.calcsize(f"<{PACKED[inner]}")
    for _ in range(count):
        _, at = _string(whole, at)
    return at


def _aligned(at: int) -> int:
    return -(-at // _ALIGNMENT) * _ALIGNMENT
