"""Sinks that are measured: the losses are llama.cpp's own, and when there is nothing to measure it is said why."""

import re
from collections.abc import Callable, Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec import structs

from chatapp import paths
from chatapp.cache.sink_count import CANDIDATES, LOOK_TOK, TOLERANCE_NATS, fewest
from chatapp.engine.native import llama
from chatapp.engine.native.losses import losses
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.sinks import count as sink_count
from chatapp.engine.sinks import trials
from chatapp.engine.sinks.trials import GAP_TOK, PASSES, SCORED_TOK, Measurement
from chatapp.protocol.commands import Cancel, Examine, Load, Measure
from chatapp.protocol.events import Calibrating, Examined, Loaded, LoadProgress, Measured
from chatapp.protocol.values import CacheRequest, CacheSettings, EngineSettings, Sinks
from tests.support.engine.inprocess import THREADS
from tests.support.engine.process import Engine, Seen
from tests.support.tiny_models import WINDOW, tiny

AUTO = CacheRequest(n_ctx=512, sinks=None)
PLENTY = 2**40
ENGINE = EngineSettings(threads=THREADS, flash_attention="off")
EXACT: dict[str, Any] = {"type_k": "f32", "type_v": "f32", "swa_full": True}
SETTINGS = trials.settings


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

    found = trials.measure(model, ENGINE, n_swa=n_swa, renumbers=renumbers, on_progress=keep, cancelled=never)
    return found, told


def settled(path: Path, free_bytes: int = PLENTY, cancelled: Callable[[], bool] = never) -> Sinks:
    """What is settled on for this model."""

    def ignore(done: int, total: int) -> None:
        assert done <= total

    with loaded(path) as model:
        return sink_count.settle(
            prepare(path, AUTO), free_bytes, lambda: nullcontext(model), on_progress=ignore, cancelled=cancelled
        )


# --------------------------------------------------------------------------- the measurement


def replayed(model: llama.Model, prefix: int, n_sink: int, *, renumbers: bool) -> list[float]:
    """The losses with `n_sink` first tokens, each place of the text on a cache of its own."""
    text = (Path(trials.__file__).parent / "trials.txt").read_text()
    tokens = model.tokenize(text, special=False)
    first = [model.bos] if model.bos is not None else []
    need = prefix + SCORED_TOK + 1 - len(first)
    found: list[float] = []
    for start in (0, len(tokens) - need):
        these = [*first, *tokens[start : start + need]]
        context = llama.Context(
            model, CacheSettings(n_ctx=prefix + SCORED_TOK, micro_batch=32, **EXACT), ENGINE, n_outputs=16
        )
        for at in range(0, prefix, 32):
            context.decode(these[at : at + 32], at, logits="none")
        assert context.remove(8, GAP_TOK)
        end = prefix
        if renumbers:
            context.renumber(GAP_TOK, 8 - GAP_TOK)
            end -= GAP_TOK - 8
        assert context.remove(n_sink, 8)
        for at in range(0, SCORED_TOK, 16):
            batch = these[prefix + at : prefix + at + 17]
            context.decode(batch[:-1], end + at, logits="all")
            found += losses(context.logits(16), batch[1:]).tolist()
        context.close()
    return found


@pytest.mark.parametrize(
    ("name", "n_swa", "renumbers"),
    [("llama", None, True), ("gemma3", WINDOW, True), ("smollm3", None, False)],
    ids=["shifted", "hybrid", "positions kept"],
)
def test_the_losses_are_those_of_a_cache_from_which_these_tokens_left(
    folder: Path, name: str, n_swa: int | None, renumbers: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The counts share one cache, and the second place of the text drives out the first; who comes back to a place
    later, or begins there, finds it as it was. The same losses must come of a cache for each count and place alone.
    """
    looks = iter([(8, 0), *[(8,)] * 3, (8, 1), *[(1,)] * 3, (4, 2), (8, 1), (0,), (8, 4)])
    scored: dict[int, list[float]] = {}

    def scheduled(so_far: dict[int, list[float]], _most: int) -> tuple[int, ...]:
        scored.update({n_sink: [*values] for n_sink, values in so_far.items()})
        return next(looks, ())

    def exact(n_swa: int | None) -> CacheSettings:
        return structs.replace(SETTINGS(n_swa), **EXACT)

    monkeypatch.setattr(trials, "undecided", scheduled)
    monkeypatch.setattr(trials, "settings", exact)
    with loaded(tiny(name, folder)) as model:
        found, told = measured(model, n_swa=n_swa, renumbers=renumbers)
        expected = {n_sink: replayed(model, 288, n_sink, renumbers=renumbers) for n_sink in CANDIDATES}
    assert {n_sink: len(values) // LOOK_TOK for n_sink, values in scored.items()} == {8: 7, 0: 2, 1: 5, 4: 2, 2: 1}
    assert PASSES * SCORED_TOK > found.scored_tok == 7 * LOOK_TOK > SCORED_TOK
    for n_sink, values in scored.items():
        off = {count: np.abs(np.asarray(values) - expected[count][: len(values)]).mean() for count in CANDIDATES}
        assert 5 * off.pop(n_sink) < min(off.values()), f"with {n_sink}, as with another number of first tokens"
    assert [done for done, _ in told] == sorted({done for done, _ in told})
    assert told[-1][0] == told[-1][1]


def test_no_more_is_scored_than_it_takes_to_be_sure(folder: Path) -> None:
    """A model of noise loses nothing with its first tokens: that is certain soon."""
    with loaded(tiny("llama", folder)) as model:
        found, told = measured(model, n_swa=None, renumbers=True)
    assert [trial.n_sink for trial in found.trials] == [0, 1, 8]
    assert found.scored_tok < SCORED_TOK
    assert told[-1][0] < 288 + 3 * SCORED_TOK


@pytest.mark.timeout(600)
def test_one_first_token_is_what_the_starter_needs(starter: Path) -> None:
    """Without it perplexity rises by a half; more than one gain little. Its residual norm shows where the sink is."""
    with loaded(starter) as model:
        found, _ = measured(model, n_swa=None, renumbers=True)
    none, one, *_, eight = found.trials
    assert none.bad
    assert none.excess > 0.3
    assert one.good
    assert eight.excess < TOLERANCE_NATS
    assert fewest(found.trials) == 1
    assert found.scored_tok < PASSES * SCORED_TOK
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
        ("mamba", "auto", "nothing can be evicted. A recurrent model"),
        ("lfm2", "auto", "nothing can be evicted. Some layers keep a recurrent state"),
        ("gpt-oss", "auto", "the model has learned sinks"),
        ("granite-sinks", "auto", "the model has learned sinks"),
        ("llama4", "auto", "it takes 8352 tokens, and the model was trained for 4096"),
        ("llama", "dense", "under `dense` nothing is evicted"),
        ("llama", "window", "under `window` the first tokens are evicted"),
        ("llama", "rebuild", "under `rebuild` the kept tokens are processed again"),
    ],
)
def test_where_nothing_can_be_measured_the_reason_is_told(folder: Path, name: str, policy: str, why: str) -> None:
    """And no weight is loaded for it."""
    prepared = prepare(tiny(name, folder), CacheRequest(n_ctx=512, sinks=None, policy=policy))
    found = sink_count.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found.n == 4
    assert found.why.startswith(f"Not measured: {why}")
    assert found.trials == []


def test_a_measurement_needs_no_more_memory_than_the_plan_may_take(folder: Path) -> None:
    """It is planned like any cache, logits and all, and left out where it does not fit; what is on disk takes none."""
    path = tiny("llama", folder)
    need = prepare(path, AUTO).takes(trials.settings(None), n_outputs=trials.N_OUTPUTS, n_sequences=trials.N_SEQUENCES)
    found = settled(path, free_bytes=need)
    assert re.fullmatch(r"Not measured: it takes [\d.]+ MiB, and [\d.]+ MiB is free\. 4 is the default\.", found.why)
    found = settled(path, free_bytes=2 * need)
    assert found.trials
    assert settled(path, free_bytes=need) == found


def test_a_number_of_sinks_is_taken_as_it_is(folder: Path) -> None:
    prepared = prepare(tiny("llama", folder), CacheRequest(n_ctx=512, sinks=9))
    found = sink_count.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found == Sinks(n=9, why="From settings.")


@pytest.mark.parametrize("policy", ["auto", "window"])
def test_a_number_that_is_set_stands_beside_what_was_measured_before(folder: Path, policy: str) -> None:
    """Nothing is measured for it, but whoever keeps fewer than the model needs can be told."""
    measured = settled(tiny("llama", folder))
    prepared = prepare(tiny("llama", folder), CacheRequest(n_ctx=512, sinks=0, policy=policy))
    found = sink_count.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert (found.n, found.why) == (0, "From settings.")
    assert measured.trials
    assert (found.trials, found.outliers) == (measured.trials, measured.outliers)
    other = prepare(tiny("llama-q4", folder), CacheRequest(n_ctx=512, sinks=0))
    found = sink_count.settle(other, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found == Sinks(n=0, why="From settings."), "that was another model"


def test_a_home_that_takes_no_folder_is_no_reason_not_to_load(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SWACHAT_CACHE_DIR", str(tmp_path / "file"))
    prepared = prepare(tiny("llama", folder), CacheRequest(n_ctx=512, sinks=2))
    found = sink_count.settle(prepared, PLENTY, lambda: pytest.fail("loaded"), on_progress=print, cancelled=never)
    assert found == Sinks(n=2, why="From settings.")
