"""The soak of benchmarks/soak.py, short; and what its witness sees that nothing else would."""

import json
import os
from pathlib import Path
from statistics import median

import pytest

from benchmarks.soak import main
from benchmarks.turn_cycles import CYCLE, soak
from benchmarks.witness import cells, disagreement
from chatapp.cache.ledger import MOST_GONE, Ledger
from chatapp.engine.native.llama import Context, lib
from chatapp.protocol.values import CacheSettings
from tests.support.tiny_models import tiny

CACHE = CacheSettings(n_ctx=512)
ONE_COURSE = 1
"""Tokens: a cycle is gone through to its end."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.mark.parametrize("name", ["gemma3", "gpt-oss"])
def test_ledger_and_cells_agree_at_every_decode(name: str, folder: Path) -> None:
    """With two caches, one of them pruned; renumbered (gemma3), and with positions that stay (gpt-oss)."""
    outcome = soak(tiny(name, folder), ONE_COURSE, CACHE, branches=True)
    assert outcome.problems == []
    assert outcome.evictions > 5
    assert (outcome.pins, outcome.recalls) == (1, 1)
    assert outcome.switches > 0
    # Another reply and the way back from it, a turn taken back, pin and unpin, a recall, an earlier turn.
    assert outcome.steps == len(CYCLE) + 7
    # Each token of a reply is a decode, and each decode is written down for both caches.
    assert outcome.checks > 2 * sum(cycle.reply_tok for cycle in outcome.cycles)
    assert "LLAMA_KV_CACHE_DEBUG" not in os.environ


def test_nothing_grows_with_the_length_of_a_conversation(folder: Path) -> None:
    """Neither the ledger nor the memory of the process: 72 turns remembered one by one would show in both."""
    outcome = soak(tiny("llama", folder), 17_000, CACHE, witness=False)
    assert outcome.problems == []
    turns_of_a_course = len(CYCLE) - 1
    assert turns_of_a_course * len(outcome.cycles) > MOST_GONE == outcome.most_gone
    assert outcome.most_runs <= 2 * turns_of_a_course
    kv = [cycle.resident_bytes for cycle in outcome.cycles]
    assert median(kv[-3:]) <= 1.01 * median(kv[1:4])


def test_a_run_that_is_stopped_keeps_what_it_has_measured(folder: Path) -> None:
    """A million tokens take long: the cycle that runs is finished, and counts."""
    asked = iter([False, True])
    outcome = soak(tiny("llama", folder), 1_000_000, CACHE, witness=False, stopped=lambda: next(asked))
    assert len(outcome.cycles) == 1
    assert outcome.problems == []


def test_the_witness_sees_a_cell_at_the_wrong_position(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Position 10 becomes a second 11: as many cells as before, the same lowest and highest position, so the engine's
    own check passes. The soak says so with its exit code.
    """
    renumber = Context.renumber

    def stumbles(self: Context, p0: int, delta: int) -> None:
        renumber(self, p0, delta)
        memory = lib.llama_get_memory(self.handle)
        assert memory is not None
        lib.llama_memory_seq_add(memory, 0, 10, 11, 1)

    monkeypatch.setattr(Context, "renumber", stumbles)
    assert soak(tiny("llama", folder), ONE_COURSE, CACHE, witness=False).problems == []
    assert main([f"llama:{ONE_COURSE}"]) == 1
    written = capfd.readouterr()
    assert json.loads(written.out.splitlines()[-1])["rows"][0]["mismatches"] > 0
    assert "the cells have 0-9, 11, 11-" in written.err


def test_the_positions_of_a_dump_are_those_of_one_sequence() -> None:
    """As llama.cpp prints them: who holds each cell, then where it is; free cells and another branch's are left out."""
    assert cells(b"0M1.0", b"7    12345600  .    8    ", 0) == {0: 7, 1: 12345, 4: 8}
    assert cells(b"0M1.0", b"7    12345600  .    8    ", 1) == {1: 12345, 2: 600}


def test_sliding_cells_must_hold_what_the_next_token_sees_and_nothing_that_has_left() -> None:
    ledger = Ledger().append(1, "user", tuple(range(20))).remove(5, 8)
    assert ledger.next_pos == 20
    assert disagreement(ledger, [15, 16, 17, 18, 19], 6) is None
    assert disagreement(ledger, [3, 15, 16, 17, 18, 19], 6) is None
    assert disagreement(ledger, [15, 17, 18, 19], 6) == (
        "the window of 6 needs 15-19 (5 in all), its cells have 15, 17-19 (4 in all)"
    )
    assert disagreement(ledger, [6, 15, 16, 17, 18, 19], 6) == "sliding cells hold 6 (1 in all), which have left"
    assert disagreement(ledger, [15, 16, 17, 18, 19], 0) is not None
