"""What is taken from llama.cpp's source archive, and what is not."""

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tools.llama_archive import main, unpack

MODELS = "llama_cpp_python-1.0/vendor/llama.cpp/models"
WANTED = {f"{MODELS}/templates/a-1.jinja": b"{{ 1 }}", f"{MODELS}/ggml-vocab-b.gguf": b"GGUF"}
OTHERS = {
    f"{MODELS}/ggml-vocab-b.gguf.inp": b"",
    f"{MODELS}/a.jinja": b"",
    f"{MODELS}/templates/ggml-vocab-c.gguf": b"",
    f"{MODELS}/templates/../../../../../evil.jinja": b"",
    f"{MODELS}/templates/x/../evil.jinja": b"",
    f"/{MODELS}/templates/evil.jinja": b"",
    "llama_cpp_python-1.0/setup.py": b"",
}


def archive(file: Path, contents: Mapping[str, bytes]) -> Path:
    with tarfile.open(file, "w:gz") as tar:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo(f"{MODELS}/templates/link.jinja")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
    return file


def files(folder: Path) -> list[str]:
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir())


def test_templates_and_vocabularies_are_taken_and_nothing_else(tmp_path: Path) -> None:
    """Not a link, not what a name leads out of the folder; and what was there before is replaced."""
    (tmp_path / "out/templates").mkdir(parents=True)
    (tmp_path / "out/templates/old.jinja").write_text("")
    unpack(archive(tmp_path / "a.tar.gz", {**OTHERS, **WANTED}), tmp_path / "out")
    assert files(tmp_path) == ["a.tar.gz", "out/templates/a-1.jinja", "out/vocabularies/ggml-vocab-b.gguf"]
    assert (tmp_path / "out/templates/a-1.jinja").read_bytes() == b"{{ 1 }}"


def test_an_archive_without_them_is_an_error_and_changes_nothing(tmp_path: Path) -> None:
    """llama.cpp may have moved them."""
    (tmp_path / "out").mkdir()
    only = {name: data for name, data in WANTED.items() if name.endswith(".gguf")}
    with pytest.raises(ValueError, match=r"a\.tar\.gz has no templates of llama\.cpp"):
        unpack(archive(tmp_path / "a.tar.gz", only), tmp_path / "out")
    assert files(tmp_path) == ["a.tar.gz"]


def test_what_has_another_hash_is_not_unpacked(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """pip compares it with the lock's; this archive lies on the disk, and nothing is asked of the network."""
    file = archive(tmp_path / "llama_cpp_python-1.0.tar.gz", WANTED)
    (tmp_path / "lock").write_text(f"llama-cpp-python @ {file.as_uri()} --hash=sha256:{'0' * 64}\n")
    assert main(str(tmp_path / "lock"), str(tmp_path / "out")) != 0
    assert "DO NOT MATCH THE HASHES" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()
