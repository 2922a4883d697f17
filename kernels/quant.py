"""A GGUF file as numbers: its metadata, and its weights, dequantized through the `gguf` package.

That package is an extra, imported on first use. It knows every type of the covered models: F32, F16, BF16, Q4_0 to
Q8_0, the K and IQ quants, MXFP4 (gpt-oss). The header is read here: the package's own reader makes several array views
of each word of a vocabulary, and took 29 seconds for the 262,144 words of Gemma where this took 0.5.
"""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from kernels import checks

MAGIC: Final = b"GGUF"
VERSIONS: Final = (2, 3)
ALIGNMENT: Final = 32
"""Bytes to which tensors are aligned, unless `general.alignment` says otherwise."""
NUMBERS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""enum gguf_type of gguf.h as letters of the module struct; the two missing ones are these."""
STRING, ARRAY = 8, 9


def dequantize(blocks: NDArray[np.uint8], type_name: str) -> NDArray[np.float32]:
    """Quantized `blocks (..., row_bytes)`, as they lie in a file or a cache, to `(..., row_length)` in float32.

    `type_name` is ggml's: "Q8_0", "Q4_K", "F16". KeyError for a name that it does not have, NotImplementedError for a
    type that holds no floating point numbers, ValueError for bytes that are no whole blocks, ImportError where
    `gguf` is missing.

    Q8_0 is a float16 scale and 32 signed bytes:

    >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes(range(32)), dtype=np.uint8)
    >>> dequantize(block, "Q8_0")[:5].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    gguf = _gguf()
    kind = gguf.GGMLQuantizationType[type_name]
    checks.blocks("blocks", blocks, gguf.GGML_QUANT_SIZES[kind][1])
    return gguf.quants.dequantize(blocks, kind)


@dataclass(frozen=True)
class _Place:
    """Where a tensor lies in the file, and what its bytes mean."""

    type_name: str
    shape: tuple[int, ...]
    start: int
    n_bytes: int


class Gguf(Mapping[str, NDArray[np.float32]]):
    """A GGUF file: tensors by name, each read and dequantized when it is asked for, and the `metadata`.

    Shapes are NumPy's, the slowest dimension first: the matrix of a linear layer is `(n_out, n_in)`. ValueError for a
    file that is not a GGUF or is truncated, ImportError where the package `gguf` is missing.

    >>> import tempfile, gguf
    >>> folder = tempfile.TemporaryDirectory()
    >>> writer = gguf.GGUFWriter(f"{folder.name}/tiny.gguf", arch="llama")
    >>> writer.add_block_count(30)
    >>> writer.add_tensor("token_embd.weight", np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float16))
    >>> writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file(); writer.close()
    >>> file = Gguf(f"{folder.name}/tiny.gguf")
    >>> file.metadata
    {'general.architecture': 'llama', 'llama.block_count': 30}
    >>> list(file), file["token_embd.weight"].tolist()
    (['token_embd.weight'], [[1.0, 2.0], [3.0, 4.0]])
    >>> del file; folder.cleanup()
    """

    metadata: dict[str, Any]
    """Numbers, texts and lists of them, by key: `llama.block_count`, `tokenizer.ggml.tokens`."""

    def __init__(self, path: str | PathLike[str]) -> None:
        self._data: NDArray[np.uint8] = np.memmap(path, dtype=np.uint8, mode="r")
        header = _Header(self._data)
        try:
            if header.bytes(4) != MAGIC or header.number("I") not in VERSIONS:
                raise ValueError(f"{path} is not a GGUF file of version 2 or 3")
            n_tensor, n_key = header.number("Q"), header.number("Q")
            self.metadata = {header.string(): header.value(header.number("I")) for _ in range(n_key)}
            self._places = {header.string(): header.place() for _ in range(n_tensor)}
        except struct.error as error:
            raise ValueError(f"{path} ends within its header") from error
        alignment = self.metadata.get("general.alignment", ALIGNMENT)
        self._first = -(-header.at // alignment) * alignment
        end = max((self._first + place.start + place.n_bytes for place in self._places.values()), default=0)
        if end > len(self._data):
            raise ValueError(f"{path} ends within its tensors: it has {len(self._data)} bytes, and they need {end}")

    def __getitem__(self, name: str) -> NDArray[np.float32]:
        place = self._places[name]
        start = self._first + place.start
        blocks = self._data[start : start + place.n_bytes].reshape(*place.shape[:-1], -1)
        return dequantize(np.asarray(blocks), place.type_name)

    def __contains__(self, name: object) -> bool:
        return name in self._places  # Mapping would dequantize the tensor to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class _Header:
    """The fields of the file from its start, one after another; struct.error where it ends."""

    def __init__(self, data: NDArray[np.uint8]) -> None:
        self._data = data.data
        self.at = 0

    def bytes(self, count: int) -> bytes:
        (read,) = struct.unpack_from(f"{count}s", self._data, self.at)
        self.at += count
        return read

    def number(self, letter: str) -> Any:
        return self.numbers(letter, 1)[0]

    def numbers(self, letter: str, count: int) -> tuple[Any, ...]:
        layout = f"<{count}{letter}"
        read = struct.unpack_from(layout, self._data, self.at)
        self.at += struct.calcsize(layout)
        return read

    def string(self) -> str:
        return self.bytes(self.number("Q")).decode(errors="replace")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.string()
        if kind != ARRAY:
            return self.number(_letter(kind))
        inner, count = self.number("I"), self.number("Q")
        if inner in (STRING, ARRAY):
            return [self.value(inner) for _ in range(count)]
        return list(self.numbers(_letter(inner), count))

    def place(self) -> _Place:
        shape = self.numbers("Q", self.number("I"))[::-1]
        kind = _gguf().GGMLQuantizationType(self.number("I"))
        per_block, block_bytes = _gguf().GGML_QUANT_SIZES[kind]
        n_bytes = int(np.prod(shape)) // per_block * block_bytes
        return _Place(kind.name, shape, self.number("Q"), n_bytes)


def _letter(kind: int) -> str:
    if kind not in NUMBERS:
        raise ValueError(f"the header has a value of type {kind}, which no version of GGUF knows")
    return NUMBERS[kind]


def _gguf() -> ModuleType:
    try:
        import gguf
    except ImportError as error:
        raise ImportError(
            "reading the weights of a GGUF file needs an extra: pip install 'swachat[decoder]'"
        ) from error
    return gguf
