"""A GGUF as numbers: what was written comes back, to the rounding of its type, and a damaged file is refused."""

import struct
import sys
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import quantize

from kernels import Gguf, dequantize

VALUES = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)
KEYS: dict[str, Any] = {
    "general.architecture": "llama",
    "llama.block_count": 30,
    "llama.rope.freq_base": 10000.0,
    "llama.wide": 2**40,
    "llama.flag": True,
    "tokenizer.ggml.tokens": ["<s>", "▁the", ""],
    "tokenizer.ggml.scores": [0.0, -1.5],
    "tokenizer.ggml.flags": [True, False],
    "tokenizer.ggml.nested": [[1, 2], [3]],
}


def written(path: Path, type_name: str = "F32", alignment: int | None = None) -> Path:
    """A file with a matrix of this type, a norm, and a key of each kind."""
    kind = GGMLQuantizationType[type_name]
    writer = gguf.GGUFWriter(path, arch="llama")
    if alignment is not None:
        writer.add_custom_alignment(alignment)
    writer.add_block_count(30)
    writer.add_float32("llama.rope.freq_base", 10000.0)
    writer.add_uint64("llama.wide", 2**40)
    writer.add_bool("llama.flag", True)
    for key in ("tokens", "scores", "flags", "nested"):
        writer.add_array(f"tokenizer.ggml.{key}", KEYS[f"tokenizer.ggml.{key}"])
    writer.add_tensor("blk.0.attn_q.weight", quantize(VALUES, kind), raw_dtype=kind)
    writer.add_tensor("output_norm.weight", VALUES[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.mark.parametrize(
    ("type_name", "error"),
    [("F32", 0), ("F16", 1e-3), ("BF16", 4e-3), ("Q8_0", 5e-3), ("Q5_0", 7e-2), ("Q4_1", 7e-2), ("Q4_0", 0.14)],
)
def test_a_tensor_comes_back_to_the_rounding_of_its_type(tmp_path: Path, type_name: str, error: float) -> None:
    read = Gguf(written(tmp_path / "tiny.gguf", type_name))
    assert (list(read), len(read)) == (["blk.0.attn_q.weight", "output_norm.weight"], 2)
    matrix = read["blk.0.attn_q.weight"]
    assert (matrix.shape, matrix.dtype) == ((4, 64), np.float32)
    np.testing.assert_allclose(matrix, VALUES, atol=error)
    blocks = quantize(VALUES, GGMLQuantizationType[type_name])
    np.testing.assert_array_equal(dequantize(blocks.view(np.uint8), type_name), matrix)
    np.testing.assert_array_equal(read["output_norm.weight"], VALUES[0])


@pytest.mark.parametrize("alignment", [None, 256])
def test_the_header_is_what_the_package_reads_too(tmp_path: Path, alignment: int | None) -> None:
    path = written(tmp_path / "tiny.gguf", alignment=alignment)
    read = Gguf(path)
    assert read.metadata == KEYS | ({} if alignment is None else {"general.alignment": alignment})
    theirs = {tensor.name: tensor for tensor in gguf.GGUFReader(path).tensors}
    assert set(read) == set(theirs)
    for name, values in read.items():
        np.testing.assert_array_equal(values, theirs[name].data)


def test_looking_for_a_name_dequantizes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mapping's own `in` would read the tensor: seconds for an embedding."""
    read = Gguf(written(tmp_path / "tiny.gguf"))
    monkeypatch.setattr("kernels.quant.dequantize", None)
    assert "output_norm.weight" in read
    assert "output.weight" not in read
    with pytest.raises(KeyError, match=r"output\.weight"):
        _ = read["output.weight"]


@pytest.mark.parametrize("size", [20, 100, 300])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, size: int) -> None:
    path = written(tmp_path / "tiny.gguf")
    whole = path.read_bytes()
    assert len(whole) > size
    path.write_bytes(whole[:size])
    with pytest.raises(ValueError, match="ends within its header"):
        Gguf(path)
    path.write_bytes(whole[:-200])
    with pytest.raises(ValueError, match=f"ends within its tensors: it has {len(whole) - 200} bytes"):
        Gguf(path)


@pytest.mark.parametrize(
    ("start", "problem"),
    [
        (b"GGML" + struct.pack("<IQQ", 3, 0, 0), "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQ", 1, 0, 0), "not a GGUF file"),
        (b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 13), "a value of type 13"),
        (b"GGUF" + struct.pack("<IQQQ1sIQI", 3, 1, 0, 1, b"t", 1, 32, 99), "99 is not a valid GGMLQuantizationType"),
    ],
)
def test_what_is_no_gguf_is_refused(tmp_path: Path, start: bytes, problem: str) -> None:
    path = tmp_path / "other.bin"
    path.write_bytes(start)
    with pytest.raises(ValueError, match=problem):
        Gguf(path)


def test_a_type_without_such_a_name_is_refused() -> None:
    with pytest.raises(KeyError, match="Q9_9"):
        dequantize(np.zeros(34, dtype=np.uint8), "Q9_9")


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "tiny.gguf")
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match=r"pip install 'swachat\[decoder\]'"):
        dequantize(np.zeros(34, dtype=np.uint8), "Q8_0")
    with pytest.raises(ImportError, match=r"pip install 'swachat\[decoder\]'"):
        Gguf(path)
