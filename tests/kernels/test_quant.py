"""The weights of a GGUF as numbers: what was written comes back, to the rounding of its type."""

import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf import GGMLQuantizationType
from gguf.quants import quantize

from kernels import dequantize, tensors

VALUES = np.linspace(-1, 1, 4 * 64, dtype=np.float32).reshape(4, 64)


@pytest.mark.parametrize(
    ("type_name", "error"),
    [("F32", 0), ("F16", 1e-3), ("BF16", 4e-3), ("Q8_0", 5e-3), ("Q5_0", 7e-2), ("Q4_1", 7e-2), ("Q4_0", 0.14)],
)
def test_a_tensor_comes_back_to_the_rounding_of_its_type(tmp_path: Path, type_name: str, error: float) -> None:
    kind = GGMLQuantizationType[type_name]
    blocks = quantize(VALUES, kind)
    writer = gguf.GGUFWriter(tmp_path / "tiny.gguf", arch="llama")
    writer.add_tensor("blk.0.attn_q.weight", blocks, raw_dtype=kind)
    writer.add_tensor("output_norm.weight", VALUES[0])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    read = dict(tensors(tmp_path / "tiny.gguf"))
    assert list(read) == ["blk.0.attn_q.weight", "output_norm.weight"]
    matrix = read["blk.0.attn_q.weight"]
    assert (matrix.shape, matrix.dtype) == ((4, 64), np.float32)
    np.testing.assert_allclose(matrix, VALUES, atol=error)
    np.testing.assert_array_equal(dequantize(blocks.view(np.uint8), type_name), matrix)
    np.testing.assert_array_equal(read["output_norm.weight"], VALUES[0])


def test_a_type_without_such_a_name_is_refused() -> None:
    with pytest.raises(KeyError, match="Q9_9"):
        dequantize(np.zeros(34, dtype=np.uint8), "Q9_9")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gguf", None)
    with pytest.raises(ImportError, match="pip install gguf"):
        dequantize(np.zeros(34, dtype=np.uint8), "Q8_0")
