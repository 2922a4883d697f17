"""An engine process on a llama.cpp that is not the one this program knows: it says so, and stays up."""

from pathlib import Path

import llama_cpp
import pytest

from chatapp.engine.native.symbols import BOUND, BOUND_FIELDS
from chatapp.protocol.commands import Load
from chatapp.protocol.events import Failed, Loaded
from chatapp.protocol.values import Answer, CacheSettings, EngineSettings
from tests.support.engine.process import Engine
from tests.support.other_build import other_build
from tests.support.tiny_models import tiny

VERSIONS = f"llama.cpp {llama_cpp.llama_version().decode()} (llama-cpp-python {llama_cpp.__version__}) "
OK = Answer(ok=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def load(engine: Engine, path: Path) -> None:
    engine.post(Load(path=str(path), cache=CacheSettings(n_ctx=256), engine=EngineSettings(threads=1)))


@pytest.mark.parametrize(
    ("name", "old", "new", "tells"),
    [
        ("gemma3", "n_layer_all  ", "n_layers_all ", "the hyperparameter n_layer_all"),
        ("gemma3", "assigned to device", "goes to", "where each layer goes"),
        ("gemma3", "creating     SWA KV cache", "creating sliding KV cache", "the sliding layers"),
        ("gemma3", "node #", "graph node", "the nodes of a graph"),
        ("gemma3", "model buffer size", "weight buffer size", "the size of the weights"),
        ("lfm2", "RS buffer size", "RS size", "each device's part of the recurrent state"),
    ],
)
def test_a_log_in_other_words_fails_the_load_and_not_the_engine(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, old: str, new: str, tells: str
) -> None:
    other_build(tmp_path, monkeypatch, words={old: new})
    with Engine(tmp_path / "log") as engine:
        for _ in range(2):
            load(engine, tiny(name, folder))
            failed = engine.until(Failed).one(Failed)
            assert failed.kind == "model"
            assert failed.what.startswith(f"{VERSIONS}does not log ")
            assert tells in failed.what
            assert "make install" in failed.todo


def test_without_a_function_that_loading_needs_the_engine_says_which(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_build(tmp_path, monkeypatch, without=["gguf_get_tensor_ne"])
    with Engine(tmp_path / "log") as engine:
        assert engine.started.reads["functions"] == Answer(ok=False, why=f"{VERSIONS}has no gguf_get_tensor_ne.")
        load(engine, tiny("llama", folder))
        assert engine.until(Failed).one(Failed).what == f"{VERSIONS}has no gguf_get_tensor_ne."


def test_a_binding_that_lacks_every_name_is_told_of_and_nothing_ends(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None of them is needed to start: an engine that ended at its imports could not say what is missing."""
    other_build(tmp_path, monkeypatch, unbound=[*BOUND, *BOUND_FIELDS])
    with Engine(tmp_path / "log") as engine:
        why = engine.started.reads["functions"].why
        assert why.startswith(f"llama.cpp ? (llama-cpp-python {llama_cpp.__version__}) has no ")
        assert BOUND[0] in why
        assert [*BOUND_FIELDS][-1] in why, "a long list loses its middle"
        load(engine, tiny("llama", folder))
        assert engine.until(Failed).one(Failed).what == why


@pytest.mark.parametrize("missing", ["ggml_prec_set_acc", "_ZNK13llama_context9get_schedEv"])
def test_without_a_function_of_the_probe_a_model_loads_all_the_same(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    other_build(tmp_path, monkeypatch, without=[missing])
    with Engine(tmp_path / "log") as engine:
        reads = engine.started.reads
        (refused,) = [answer for answer in reads.values() if not answer.ok]
        assert refused.why == f"{VERSIONS}has no {missing}."
        load(engine, tiny("llama", folder))
        assert not engine.until(Loaded).one(Loaded).capability.probe.ok


def test_another_layout_of_tensors_takes_the_probe_away_and_says_what_differs(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fields that only the probe reads; the engine was told of it before any tensor of a model's was read."""
    other_build(tmp_path, monkeypatch, before="src")
    with Engine(tmp_path / "log") as engine:
        refused = engine.started.reads["tensors"]
        assert not refused.ok
        assert refused.why.startswith(f"{VERSIONS}lays out its tensors differently ")
        assert "name (b'" in refused.why
        load(engine, tiny("llama", folder))
        probe = engine.until(Loaded).one(Loaded).capability.probe
        assert probe == refused


def test_where_a_buffer_cannot_be_set_nothing_is_loaded(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_build(tmp_path, monkeypatch, before="buffer")
    with Engine(tmp_path / "log") as engine:
        load(engine, tiny("llama", folder))
        assert "buffer (" in engine.until(Failed).one(Failed).what


def test_this_build_is_as_it_is_known(tmp_path: Path) -> None:
    with Engine(tmp_path / "log") as engine:
        assert engine.started.reads == {"functions": OK, "tensors": OK, "scheduler": OK}
