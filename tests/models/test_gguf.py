"""The head of a GGUF: what is no model is refused in one line that says what it is."""

import os
import struct
from pathlib import Path

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.errors import ModelError
from chatapp.models import check_gguf
from chatapp.models.gguf import FILE_TYPES, part_names, parts, quantization, stem


def head(version: int = 3, tensors: int = 1, pairs: int = 0) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, pairs)


def write(folder: Path, content: bytes, name: str = "model.gguf") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("version", [2, 3])
def test_a_gguf_passes(tmp_path: Path, version: int) -> None:
    check_gguf(write(tmp_path, head(version)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"just some text", "is not a GGUF file."),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "a Git LFS pointer"),
        (b"\n <!DOCTYPE html><html>", "an HTML page"),
        (b"\x40\0\0\0\0\0\0\0" + b'{"__metadata__":{}}', "a safetensors file"),
        (b"tjgg\x03\0\0\0", "an old GGML file"),
        (b"PK\x03\x04....", "a PyTorch or zip file"),
        (b"\x1f\x8b\x08", "a gzip file"),
        (b'{"a": 1}', "a JSON file"),
        (head()[:10], "is truncated after 10 bytes"),
        (head(version=1), "a GGUF of version 1"),
        (b"GGUF" + struct.pack(">IQQ", 3, 1, 0), "a big-endian GGUF"),
        (head(tensors=0), "a vocabulary, not a model"),
        (head(tensors=1 << 40), "is damaged"),
    ],
)
def test_what_is_no_model_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(ModelError) as caught:
        check_gguf(path)
    assert says in caught.value.what
    assert str(path) in caught.value.what
    assert caught.value.todo


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")  # opening it would wait for ever
    for path, says in [
        (tmp_path, "is a folder"),
        (tmp_path / "none.gguf", "There is no file"),
        (tmp_path / "pipe.gguf", "is not a regular file"),
        (tmp_path / "nul\0.gguf", "cannot be read"),
        (tmp_path / ("x" * 300), "cannot be read: File name too long"),
    ]:
        with pytest.raises(ModelError, match=says):
            check_gguf(path)


def test_a_split_model_needs_all_its_parts_and_its_first_name(tmp_path: Path) -> None:
    first, second = (write(tmp_path, head(tensors=n), f"m-0000{n + 1}-of-00002.gguf") for n in range(2))
    check_gguf(first)  # a first part may hold no tensors
    assert parts(first) == [first, second]
    assert stem(second.name) == "m"
    with pytest.raises(ModelError, match=r"part 2 of 2.*Name the first part: m-00001-of-00002\.gguf"):
        check_gguf(second)
    second.unlink()
    with pytest.raises(ModelError, match=r"m-00002-of-00002\.gguf is missing beside it"):
        check_gguf(first)


@given(st.integers(1, 99999), st.integers(1, 99999))
def test_every_part_names_all_parts(index: int, count: int) -> None:
    if index <= count <= 200:
        names = part_names(f"a-b-{index:05}-of-{count:05}.gguf")
        assert len(names) == len(set(names)) == count
        assert f"a-b-{index:05}-of-{count:05}.gguf" in names
    assert part_names(f"a-{index}-of-{count}x.gguf") == [f"a-{index}-of-{count}x.gguf"]


@pytest.mark.parametrize("file_type", [gguf.LlamaFileType.MOSTLY_Q4_K_M, gguf.LlamaFileType.MOSTLY_BF16])
def test_quantization_is_what_the_file_says(tmp_path: Path, file_type: gguf.LlamaFileType) -> None:
    path = tmp_path / "m.gguf"
    writer = gguf.GGUFWriter(path, "llama")
    # llama.cpp's quantize writes the type last, after the vocabulary.
    writer.add_token_list(["<s>", "ä", "b" * 1000])
    writer.add_token_scores([0.0, 1.0, 2.0])
    writer.add_add_bos_token(True)
    writer.add_file_type(file_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    assert quantization(path) == file_type.name.removeprefix("MOSTLY_")


def test_quantization_names_are_those_of_llama_cpp() -> None:
    theirs = {kind.value: kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    assert {value: name for value, name in theirs.items() if value in FILE_TYPES} == FILE_TYPES


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.integers(0, 1 << 63), st.booleans())
def test_damaged_metadata_is_unknown_and_never_an_error(tmp_path: Path, junk: bytes, pairs: int, begun: bool) -> None:
    begin = struct.pack("<Q", 3) + b"key" + struct.pack("<IIQ", 9, 8, 1 << 62) if begun else b""
    assert quantization(write(tmp_path, head(pairs=pairs) + begin + junk)) in {None, *FILE_TYPES.values()}
