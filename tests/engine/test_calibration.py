"""Sinks that are measured: the losses are llama.cpp's own, and when there is nothing to measure it is said why."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np
import pytest

from chatapp import paths
from chatapp.cache.sinks import CANDIDATES, TOLERANCE_NATS, fewest
from chatapp.engine import calibration, llama, sinks
from chatapp.engine.calibration import GAP_TOK, PASSES, SCORED_TOK, Measurement
from chatapp.engine.prepare import prepare
from chatapp.engine.protocol import (
    CacheRequest,
    Calibrating,
    Cancel,
    EngineSettings,
    Examine,
    Examined,
    Load,
    Loaded,
    LoadProgress,
    Measure,
    Measured,
    Sinks,
)
from chatapp.engine.scoring import losses
from tests.engine.inprocess import THREADS, Plain, plain
from tests.engine.support import Engine, Seen
from tests.support.tiny_models import WINDOW, tiny

AUTO = CacheRequest(n_ctx=512, sinks=None)
PLENTY = 2**40
ENGINE = EngineSettings(threads=THREADS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(autouse=True)
def nothing_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test begins without measurements on disk."""
    monkeypatch.setenv("SWACHAT_CACHE_DIR", str(tmp_path / "cache"))


@contextmanager
def loaded(path: Path) -> Generator[llama.Model]:
    llama.init()
    model = llama.Model(path)
    try:
        yield model
    finally:
        model.close()


def never() -> bool:
    return False


def measured(model: llama.Model, *, n_swa: int | None, renumbers: bool) -> tuple[Measurement, list[tuple[int, int]]]:
    """A measurement, and the progress that it told."""
    told: list[tuple[int, int]] = []

    def keep(done: int, total: int) -> None:
        told.append((done, total))

    found = calibration.measure(model, ENGINE, n_swa=n_swa, renumbers=renumbers, on_progress=keep, cancelled=never)
    return found, told


def settled(path: Path, free_bytes: int = PLENTY, cancelled: Callable[[], bool] = never) -> Sinks:
    """What is settled on for this model."""

    def ignore(done: int, total: int) -> None:
        assert done <= total

    with loaded(path) as model:
        return sinks.settle(
            prepare(path, AUTO), free_bytes, lambda: nullcontext(model), on_progress=ignore, cancelled=cancelled
        )


# --------------------------------------------------------------------------- the measurement


def replayed(model: llama.Model, prefix: int, n_sink: int, *, renumbers: bool) -> float:
    """The mean loss with `n_sink` first tokens, by plain llama.cpp calls, each pass and count on a cache of its own."""
    text = (Path(calibration.__file__).parent / "calibration.txt").read_text()
    tokens = model.tokenize(text, special=False)
    first = [model.bos] if model.bos is not None else []
    need = prefix + SCORED_TOK + 1 - len(first)
    found: list[float] = []
    for start in (0, len(tokens) - need):
        these = [*first, *tokens[start : start + need]]
        with plain(model, prefix + SCORED_TOK, 32) as context:
            _feed(context, these[:prefix], 0)
            assert context.remove(n_sink, GAP_TOK)
            end = prefix
            if renumbers:
                context.move(GAP_TOK, n_sink - GAP_TOK)
                end -= GAP_TOK - n_sink
            for at, token in enumerate(these[prefix:-1]):
                context.decode([token], end + at)
                following = these[prefix + at + 1]
                found += losses(context.logits[None].astype(np.float32), [following]).tolist()
    return sum(found) / len(found)


def _feed(context: Plain, tokens: list[int], pos: int) -> None:
    for at in range(0, len(tokens), 32):
        context.decode(tokens[at : at + 32], pos + at)


@pytest.mark.parametrize(
    ("name", "n_swa", "renumbers"),
    [("llama", None, True), ("gemma3", WINDOW, True), ("smollm3", None, False)],
    ids=["shifted", "hybrid", "positions kept"],
)
def test_the_losses_are_those_of_a_cache_from_which_these_tokens_left(
    folder: Path, name: str, n_swa: int | None, renumbers: bool
) -> None:
    """The measurement takes first tokens out bit by bit and scores the same text anew on what is left; the same must
    come of a cache that loses them at once. The keys are f16, and are rotated once for each step.
    """
    with loaded(tiny(name, folder)) as model:
        found, told = measured(model, n_swa=n_swa, renumbers=renumbers)
        for trial in found.trials:
            if trial.n_sink in (0, 2):
                assert abs(trial.loss - replayed(model, 288, trial.n_sink, renumbers=renumbers)) < 2e-3, trial
    assert [trial.n_sink for trial in found.trials] == list(CANDIDATES)
    assert found.scored_tok == PASSES * SCORED_TOK
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == told[-1][1]


@pytest.mark.timeout(600)
def test_one_first_token_is_what_the_starter_needs(starter: Path) -> None:
    """Without it perplexity rises by a half; more than one gain little. Its residual norm shows where the sink is."""
    with loaded(starter) as model:
        found, _ = measured(model, n_swa=None, renumbers=True)
    none, one, *more = found.trials
    assert none.excess > max(0.3, 5 * none.error)
    assert one.excess < TOLERANCE_NATS
    assert all(trial.excess < TOLERANCE_NATS for trial in more)
    assert 1 <= fewest(found.trials) <= 2
    assert [outlier.pos for outlier in found.outliers or []] == [0]
    assert (found.outliers or [])[0].ratio > 100


# --------------------------------------------------------------------------- once for each model


def examine(engine: Engine, path: Path) -> Seen:
    engine.post(Examine(path=str(path), cache=AUTO, engine=ENGINE))
    return engine.until(Examined)


def test_a_model_is_measured_once_and_again_when_the_file_is_damaged_or_another_model_is_there(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "model.gguf"
    path.write_bytes(tiny("llama", folder).read_bytes())
    with Engine(tmp_path / "log") as engine:
        first = examine(engine, path)
        assert first.all(Calibrating)
        again = examine(engine, path)
        assert (again.all(Calibrating), again.all(LoadProgress)) == ([], [])
        assert again.one(Examined).sinks == first.one(Examined).sinks
        (file,) = paths.sinks_dir().iterdir()
        whole = file.read_bytes()
        for damaged in (whole[:-9], b"\xff\xfe", whole.replace(b'"method":"', b'"method":"0')):
            file.write_bytes(damaged)
            assert examine(engine, path).all(Calibrating), damaged
            assert file.read_bytes() == whole
        path.write_bytes(tiny("mixtral", folder).read_bytes())
        assert examine(engine, path).all(Calibrating)
        assert len(list(paths.sinks_dir().iterdir())) == 2


def test_a_disk_that_takes_no_file_costs_no_more_than_the_next_measurement(folder: Path) -> None:
    path = tiny("llama", folder)
    first = settled(path)
    (file,) = paths.sinks_dir().iterdir()
    file.unlink()
    file.mkdir()
    assert settled(path) == first
    assert list(paths.sinks_dir().iterdir()) == [file]


def test_a_measurement_that_is_stopped_ends_with_the_default_and_is_not_kept(folder: Path) -> None:
    """Who cannot wait can chat at once; the next start measures."""
    asked = iter([False, False, True])
    found = settled(tiny("llama", folder), cancelled=lambda: next(asked))
    assert found == Sinks(n=4, why="Not measured: the measurement was stopped. 4 is the default.")
    assert list(paths.sinks_dir().iterdir()) == []


def test_who_stops_the_measurement_has_a_model_to_chat_with(starter: Path, tmp_path: Path) -> None:
    with Engine(tmp_path / "log") as engine:
        engine.post(Load(path=str(starter), cache=AUTO, engine=ENGINE))
        engine.until(Calibrating)
        engine.post(Cancel())
        found = engine.until(Loaded).one(Loaded).sinks
        assert found is not None
        assert (found.n, found.trials) == (4, [])
        assert engine.open(system="Be brief.").n_sink > 4


def test_what_was_measured_is_what_the_cache_keeps(folder: Path, tmp_path: Path) -> None:
    """A text that is scored has no system prompt: its first tokens are the sinks."""
    with Engine(tmp_path / "log") as engine:
        engine.post(Load(path=str(tiny("llama", folder)), cache=AUTO, engine=ENGINE, scoring=True))
        found = engine.until(Loaded).one(Loaded).sinks
        assert found is not None
        assert 0 < found.n < 4
        engine.post(Measure(text="a window of words " * 200, max_tokens=700))
        assert engine.until(Measured).one(Measured).n_sink == found.n


# --------------------------------------------------------------------------- where nothing is measured


@pytest.mark.parametrize(
    ("name", "policy", "why"),
    [
        ("mamba", "auto", "no token can leave. A recurrent model"),
        ("lfm2", "auto", "no token can leave. Some layers keep a recurrent state"),
        ("gpt-oss", "auto", "the model learned sinks of its own"),
        ("granite-sinks", "auto", "the model learned sinks of its own"),
        ("llama4", "auto", "it takes 8352 tokens, and the model was trained for 4096"),
        ("llama", "dense", "under `dense` nothing leaves"),
        ("llama", "window", "under `window` the first tokens leave"),
        ("llama", "rebuild", "under `rebuild` what stays is processed again"),
    ],
)
def test_where_nothing_can_be_measured_the_reason_is_told(folder: Path, name: str, policy: str, why: str) -> None:
    """And no weight is loaded for it."""
    prepared = prepare(tiny(name, folder), CacheRequest(n_ctx=512, sinks=None, policy=policy))
    found = sinks.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found.n == 4
    assert found.why.startswith(f"Not measured: {why}")
    assert found.trials == []


def test_a_measurement_needs_no_more_memory_than_the_plan_may_take(folder: Path) -> None:
    """It is planned like any cache, logits and all, and left out where it does not fit; what is on disk takes none."""
    path = tiny("llama", folder)
    need = prepare(path, AUTO).takes(calibration.settings(None), n_outputs=calibration.N_OUTPUTS)
    found = settled(path, free_bytes=need)
    assert re.fullmatch(r"Not measured: it takes [\d.]+ MiB, and [\d.]+ MiB are free\. 4 is the default\.", found.why)
    found = settled(path, free_bytes=2 * need)
    assert found.trials
    assert settled(path, free_bytes=need) == found


def test_a_number_of_sinks_is_taken_as_it_is(folder: Path) -> None:
    prepared = prepare(tiny("llama", folder), CacheRequest(n_ctx=512, sinks=9))
    found = sinks.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found == Sinks(n=9, why="As set.")


@pytest.mark.parametrize("policy", ["auto", "window"])
def test_a_number_that_is_set_stands_beside_what_was_measured_before(folder: Path, policy: str) -> None:
    """Nothing is measured for it, but whoever keeps fewer than the model needs can be told."""
    measured = settled(tiny("llama", folder))
    prepared = prepare(tiny("llama", folder), CacheRequest(n_ctx=512, sinks=0, policy=policy))
    found = sinks.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert (found.n, found.why) == (0, "As set.")
    assert measured.trials
    assert (found.trials, found.outliers) == (measured.trials, measured.outliers)
    other = prepare(tiny("llama-q4", folder), CacheRequest(n_ctx=512, sinks=0))
    found = sinks.settle(other, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found == Sinks(n=0, why="As set."), "that was another model"


def test_a_home_that_takes_no_folder_is_no_reason_not_to_load(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWACHAT_CACHE_DIR", str(tmp_path / "file"))
    prepared = prepare(tiny("llama", folder), CacheRequest(n_ctx=512, sinks=2))
    found = sinks.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found == Sinks(n=2, why="As set.")
