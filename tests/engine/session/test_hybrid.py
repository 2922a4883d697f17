"""A conversation on a model with two caches: Gemma 3 270M, whose sliding layers keep the last 768 cells only."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.protocol.events import RolledBack, Snapshot
from chatapp.protocol.values import CacheSettings
from tests.support.engine.process import Engine, Seen, english, evictions, greedy, without_gaps


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with Engine(tmp_path_factory.mktemp("engine") / "log") as engine:
        yield engine


def test_a_long_conversation_runs_in_both_caches(process: Engine, gemma: Path) -> None:
    """Beyond the window of 2,048, with whole turns evicted from both; sinks leave the sliding layers by design."""
    loaded = process.load(gemma, CacheSettings(n_ctx=2048))
    assert (loaded.n_ctx, loaded.n_ctx_swa, loaded.policy) == (2048, 768, "sinks")
    assert "has no chat template, so a Gemma template is used" in loaded.warnings[0]
    process.open()
    steps: list[Seen] = []
    total, used = 0, 0
    while total < 3200:
        turn = len(steps) + 1
        step = process.send(turn, english(380, 400 * turn), greedy(4))
        steps.append(step)
        stats = step.done.stats
        assert stats.reused_tokens == used
        assert stats.processed_tokens == stats.prompt_tokens
        assert all(without_gaps(snapshot) for snapshot in step.all(Snapshot))
        used = step.snapshot.n_used
        total += stats.prompt_tokens + stats.reply_tokens
    left = evictions(steps)
    assert left
    assert all(event.renumbered and event.partial_turn is None for event in left)
    last = steps[-1].snapshot
    assert (last.n_ctx_swa, last.n_swa) == (768, 512)
    # llama.cpp reports the sliding cells: all of the window is there, and the oldest positions are not.
    assert last.pos_min is not None
    assert 0 < last.pos_min <= last.n_used - 512
    # Taken back, the last turn needs cells that the sliding layers have lost: they are in a checkpoint, because cells
    # were freed for the whole prompt before it was taken.
    back = process.undo(len(steps))
    assert back.from_checkpoint
    assert back.processed_tokens == 0
    assert "what a cut cannot bring back was restored from a checkpoint" in back.why


@pytest.mark.parametrize("checkpoint_mib", [64, 0], ids=["from a checkpoint", "rebuilt"])
def test_taking_a_long_turn_back_is_as_if_it_had_not_been(process: Engine, gemma: Path, checkpoint_mib: int) -> None:
    """The cache continues as the one without that turn does. (A pattern, so that rounding decides nothing.)"""
    question = "red green blue " * 30
    process.load(gemma, CacheSettings(n_ctx=2048, checkpoint_mib=checkpoint_mib))
    process.open()
    process.send(1, question, greedy(12))
    plain = process.send(2, question, greedy(12))
    process.open()
    process.send(1, question, greedy(12))
    process.send(2, english(800, 300), greedy(4))
    back = process.undo(2)
    assert (back.from_checkpoint, back.rebuilt) == (checkpoint_mib > 0, checkpoint_mib == 0)
    assert (back.processed_tokens == 0) == back.from_checkpoint
    again = process.send(2, question, greedy(12))
    assert "red green blue" in plain.text
    assert again.text == plain.text
    assert [(run.turn, run.role, run.pos, run.n) for run in again.snapshot.runs] == [
        (run.turn, run.role, run.pos, run.n) for run in plain.snapshot.runs
    ]


def test_a_short_way_back_needs_no_rebuild(process: Engine, gemma: Path) -> None:
    """Where the cells before the cut are still there; and the reply made from them is the one of a fresh cache."""
    process.load(gemma, CacheSettings(n_ctx=2048))
    process.open()
    first = process.send(1, english(700), greedy(12))
    again = process.regenerate(1, greedy(12))
    back = again.one(RolledBack)
    assert (back.rebuilt, back.processed_tokens) == (False, 0)
    assert again.text == first.text
    assert again.done.stats.processed_tokens == 1


def test_all_cells_of_the_sliding_layers_are_kept_on_request(process: Engine, gemma: Path) -> None:
    """With swa_full a way far back is possible while nothing has left, at the price of its memory."""
    loaded = process.load(gemma, CacheSettings(n_ctx=1024, swa_full=True))
    assert loaded.n_ctx_swa == 1024
    process.open()
    process.send(1, english(600), greedy(2))
    back = process.undo(1)
    assert (back.rebuilt, back.to_pos) == (False, 1)
