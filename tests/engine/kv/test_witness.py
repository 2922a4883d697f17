"""llama.cpp's own account of every cell, which the product never reads, against what the engine reports."""

import sys
from pathlib import Path

import pytest

from chatapp.protocol.events import Evicted, Prefilled, Snapshot
from chatapp.protocol.values import CacheSettings
from tests.support.cell_dumps import dumps, talkative
from tests.support.engine.process import Engine, Seen, english, greedy, without_gaps


def positions(snapshot: Snapshot) -> list[int]:
    return [pos for run in snapshot.runs for pos in range(run.pos, run.pos + run.n)]


def before_first_decode(before: Snapshot, step: Seen) -> list[int]:
    """The positions that the step's first decode finds: those of the turn before, less what left for it."""
    expected = positions(before)
    for event in step.events:
        if isinstance(event, Prefilled):
            break
        if isinstance(event, Evicted):
            expected = [pos for pos in expected if not any(p0 <= pos < p1 for p0, p1 in event.removed)]
            if event.renumbered or event.reprocessed_tokens:
                expected = list(range(len(expected)))
    return expected


@pytest.mark.parametrize("policy", ["sinks", "window", "slide", "rebuild"])
def test_every_cell_holds_the_position_that_the_ledger_says(
    policy: str, starter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("LLAMA_KV_CACHE_DEBUG", "3")
    monkeypatch.setattr(sys, "executable", str(talkative(tmp_path)))
    with Engine(log) as engine:
        engine.load(starter, CacheSettings(n_ctx=256, policy=policy))
        engine.open(system="Be brief.")
        before = engine.send(1, english(60), greedy(4)).snapshot
        moved = 0
        for turn in range(2, 6):
            read = log.stat().st_size
            step = engine.send(turn, english(60, 70 * turn), greedy(4))
            seen = [dump.positions for dump in dumps(log.read_text(errors="replace")[read:])]
            expected = before_first_decode(before, step)
            moved += expected != positions(before)
            # A rebuild processes the kept tokens first, from an empty cache on.
            first = next(dump for dump in seen if len(dump) == len(expected)) if policy == "rebuild" else seen[0]
            assert first == expected
            assert len(seen) >= len(step.all(Prefilled)) + step.done.stats.reply_tokens - 1
            before = step.snapshot
            assert without_gaps(before) == (policy != "slide" or before.evicted_tokens == 0)
        assert moved >= 1
