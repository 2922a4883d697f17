"""A conversation far longer than its window, on the real starter model in the real engine process."""

from pathlib import Path

import pytest

from chatapp.protocol.events import Snapshot
from chatapp.protocol.values import CacheSettings
from tests.support.engine.process import Engine, Seen, english, evictions, greedy, without_gaps

TOKENS = 20_000
WORDS = 100


@pytest.mark.timeout(1200)
def test_twenty_thousand_tokens_run_through_a_window_of_512(starter: Path, tmp_path: Path) -> None:
    """No error, no stop, no prompt processed twice: each turn costs its own tokens, whatever has left before."""
    with Engine(tmp_path / "log") as engine:
        loaded = engine.load(starter, CacheSettings(n_ctx=512))
        assert (loaded.n_ctx, loaded.policy) == (512, "sinks")
        opened = engine.open(system="You are a librarian.")
        steps: list[Seen] = []
        total, used, turn = 0, 0, 0
        while total < TOKENS:
            turn += 1
            step = engine.send(turn, english(WORDS, (turn * WORDS) % 9000), greedy(6))
            steps.append(step)
            stats = step.done.stats
            assert step.done.stop_reason in ("length", "end")
            assert stats.reused_tokens == step.started.reused_tokens == used
            assert stats.processed_tokens == stats.prompt_tokens == step.started.prompt_tokens
            assert 1 <= stats.reply_tokens <= 6
            for snapshot in step.all(Snapshot):
                assert without_gaps(snapshot)
                assert snapshot.n_sink == opened.n_sink
                assert [run.kind for run in snapshot.runs] == ["sink"] + ["recent"] * (len(snapshot.runs) - 1)
            before, used = used, step.snapshot.n_used
            assert used == before + stats.prompt_tokens + stats.reply_tokens - stats.evicted_tokens
            total += stats.prompt_tokens + stats.reply_tokens

        # What left: whole turns, oldest first, each once, and none but the last few is still there.
        left = evictions(steps)
        assert all(event.partial_turn is None and event.renumbered for event in left)
        assert [number for event in left for number in event.turns] == list(range(1, turn))[
            : sum(len(e.turns) for e in left)
        ]
        last = steps[-1].snapshot
        in_window = {run.turn for run in last.runs} - {0}
        assert in_window == set(range(turn - len(in_window) + 1, turn + 1))
        assert last.evicted_turns == turn - len(in_window)
        assert last.evicted_tokens == sum(event.tokens for event in left) == total - last.n_used
        assert last.shifts == len(left)
        # In batches: a share of the window at once.
        assert len(left) <= total / (CacheSettings().evict_share * (512 - opened.n_sink)) + 1
