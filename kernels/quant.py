"""The weights of a GGUF file as numbers, through the `gguf` package: an extra, imported on first use.

It knows every type of the covered models: F32, F16, BF16, Q4_0 to Q8_0, the K and IQ quants, MXFP4 (gpt-oss).
"""

from collections.abc import Iterator
from os import PathLike
from types import ModuleType

import numpy as np
from numpy.typing import NDArray


def dequantize(blocks: NDArray[np.uint8], type_name: str) -> NDArray[np.float32]:
    """Quantized `blocks (..., row_bytes)`, as they lie in a file or a cache, to `(..., row_length)` in float32.

    `type_name` is ggml's: "Q8_0", "Q4_K", "F16". KeyError for a name that it does not have, NotImplementedError for a
    type that holds no floating point numbers, ImportError where `gguf` is missing.

    Q8_0 is a float16 scale and 32 signed bytes:

    >>> block = np.frombuffer(np.float16(0.5).tobytes() + bytes(range(32)), dtype=np.uint8)
    >>> dequantize(block, "Q8_0")[:5].tolist()
    [0.0, 0.5, 1.0, 1.5, 2.0]
    """
    gguf = _gguf()
    return gguf.quants.dequantize(blocks, gguf.GGMLQuantizationType[type_name])


def tensors(path: str | PathLike[str]) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Name and values of each tensor of a GGUF, one at a time, for a whole model in float32 may not fit in memory.

    Shapes are NumPy's, the slowest dimension first: the matrix of a linear layer is `(n_out, n_in)`. Errors as in
    `dequantize`, and those of `gguf` for a file that is no GGUF.

    >>> import tempfile, gguf
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     writer = gguf.GGUFWriter(f"{folder}/tiny.gguf", arch="llama")
    ...     writer.add_tensor("token_embd.weight", np.array([[1.0, 2.0], [3.0, 4.0]], dtype=np.float16))
    ...     writer.write_header_to_file(); writer.write_kv_data_to_file(); writer.write_tensors_to_file()
    ...     writer.close()
    ...     for name, values in tensors(f"{folder}/tiny.gguf"):
    ...         print(name, values.tolist())
    token_embd.weight [[1.0, 2.0], [3.0, 4.0]]
    """
    gguf = _gguf()
    for tensor in gguf.GGUFReader(path).tensors:
        yield tensor.name, gguf.quants.dequantize(tensor.data, tensor.tensor_type)


def _gguf() -> ModuleType:
    try:
        import gguf
    except ImportError as error:
        raise ImportError("reading the weights of a GGUF file needs the package gguf: pip install gguf") from error
    return gguf
