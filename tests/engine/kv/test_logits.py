"""What the model computes after an eviction, a roll-back or a rebuild, against plain llama.cpp calls."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.kv.roll_back import RollBack
from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.protocol.events import Evicted
from chatapp.protocol.values import CacheSettings
from tests.support.engine.inprocess import Logits, divergence, kv, plain
from tests.support.engine.process import english

SAME = 1e-3
"""Largest difference of a logit between two runs of the same batches. (Logits are around 10.)"""
NOISE = 0.02
"""Divergence in nats between two ways to make the same cache in other batches: rounding, no more."""
WRONG = 0.1
"""Divergence in nats from which on a cache holds something else."""


@pytest.fixture(scope="module")
def models(starter: Path, gemma: Path) -> Iterator[dict[str, Model]]:
    llama.init()
    loaded = {"starter": Model(starter), "gemma": Model(gemma)}
    yield loaded
    for model in loaded.values():
        model.close()


@pytest.mark.parametrize(
    ("name", "cache", "sizes"),
    [
        ("starter", CacheSettings(n_ctx=256, micro_batch=32), [40, 50, 60, 70, 30, 200, 60, 90]),
        ("gemma", CacheSettings(n_ctx=1024, micro_batch=64), [60, 90, 120, 200, 150, 180, 250, 300, 200]),
    ],
)
def test_after_evictions_the_model_computes_what_a_plain_replay_does(
    models: dict[str, Model], name: str, cache: CacheSettings, sizes: list[int]
) -> None:
    """Whole turns left, the last one was torn, keys were rotated several times: seq_rm, seq_add and decode say the
    same, call by call. A replay that is off by one token does not.
    """
    model = models[name]
    tokens = ([model.bos] if model.bos is not None else []) + model.tokenize(english(1500), special=False)
    pieces, at = [Piece(0, "system", tuple(tokens[:10]), sink=True)], 10
    for turn, size in enumerate(sizes, 1):
        pieces.append(Piece(turn, "user", tuple(tokens[at : at + size]), opening=3))
        at += size
    with kv(model, cache) as (engine, context):
        for piece in pieces:
            engine.prefill(Prefill([piece]))
        assert engine.mismatch() is None
        got, notes = context.last, context.notes
        turn_counts = [len(note.turns) for note in notes if isinstance(note, Evicted)]
        assert sum(turn_counts) >= 3
        assert len(turn_counts) >= 3

        def replay(off: int) -> Logits:
            with plain(model, cache.n_ctx, cache.micro_batch) as other:
                for i, note in enumerate(notes):
                    if isinstance(note, Evicted):
                        continue
                    left = notes[i + 1] if i + 1 < len(notes) else None  # an eviction is told after its decode
                    if isinstance(left, Evicted):
                        for p0, p1 in reversed(left.removed):
                            assert other.remove(p0 + off, p1 + off)
                            other.move(p1 + off, p0 - p1)
                    other.decode(*note)
                return other.logits

        assert np.abs(got - replay(0)).max() < SAME
        if name == "starter":
            assert np.abs(got - replay(1)).max() > 100 * SAME


def test_a_pruned_window_that_was_cut_too_far_has_a_silent_hole(models: dict[str, Model]) -> None:
    """Plain llama.cpp says that all went well, and computes something else: this is what `can_cut` is for."""
    model = models["gemma"]
    assert model.bos is not None
    tokens = [model.bos, *model.tokenize(english(1500), special=False)[:1199]]
    cut, n_swa, chunk = 300, model.n_swa, 256
    with plain(model, 2048, chunk) as damaged, plain(model, 2048, chunk) as fresh:
        for at in range(0, len(tokens), chunk):
            damaged.decode(tokens[at : at + chunk], at)
        assert damaged.remove(cut, -1)
        assert damaged.positions == (-1, -1)  # of the sliding layers: they hold nothing any more
        for at in range(0, cut, chunk):
            fresh.decode(tokens[at : min(at + chunk, cut)], at)
        for context in (damaged, fresh):
            context.decode(tokens[cut : cut + 8], cut)
        assert divergence(fresh.logits, damaged.logits) > WRONG

    with kv(model, CacheSettings(n_ctx=2048, micro_batch=chunk)) as (engine, context):
        engine.prefill(Prefill([Piece(1, "user", tuple(tokens))]))
        assert engine.mismatch() is None
        lowest = context.positions
        assert lowest is not None
        safe = lowest[0] + n_swa
        assert [engine.can_cut(p) for p in (cut, safe - 1, safe, len(tokens))] == [False, False, True, True]
        # The lowest cut that is allowed leaves what a fresh cache holds.
        assert engine.go_back(safe) is RollBack.CUT
        assert engine.mismatch() is None
        engine.prefill(Prefill([Piece(1, "user", tuple(tokens[safe : safe + 8]))]))
        with plain(model, 2048, chunk) as fresh:
            for at in range(0, safe, chunk):
                fresh.decode(tokens[at : min(at + chunk, safe)], at)
            fresh.decode(tokens[safe : safe + 8], safe)
            assert divergence(fresh.logits, context.last) < NOISE
        # Below it the engine makes the cache again, and that is exact.
        assert not engine.can_cut(cut)
        engine.rebuild(engine.ledger.truncate(cut))
        assert engine.mismatch() is None
        engine.prefill(Prefill([Piece(1, "user", tuple(tokens[cut : cut + 8]))]))
        with plain(model, 2048, chunk) as fresh:
            for at in range(0, cut, chunk):
                fresh.decode(tokens[at : min(at + chunk, cut)], at)
            fresh.decode(tokens[cut : cut + 8], cut)
            assert np.abs(fresh.logits - context.last).max() < SAME
