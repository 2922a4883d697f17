"""A recurrent state is decoded in steps that a stop need not wait for, and the steps change nothing but rounding."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.kv.decode_pace import LONGEST_S, DecodePace, next_size
from chatapp.engine.kv.prefill_plan import Chunk, Piece, chunks
from chatapp.engine.native.llama import Context
from chatapp.protocol.events import Prefilled, TurnDone
from chatapp.protocol.values import CacheRequest
from tests.support.engine.process import english
from tests.support.engine.tiny_session import sampling, tiny_session
from tests.support.tiny_models import tiny

A_TOKEN_S = 0.01


def chunk_of(*lengths: int) -> Chunk:
    pieces = [Piece(turn, "user", tuple(range(n))) for turn, n in enumerate(lengths, 1)]
    (chunk,) = chunks(pieces, sum(lengths))
    return chunk


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(1, 64))
def test_the_steps_of_a_chunk_are_the_chunk(lengths: list[int], size: int) -> None:
    chunk, pace = chunk_of(*lengths), DecodePace(256, stoppable=False)
    pace.size = size
    steps = list(pace.steps(chunk))
    assert [token for step in steps for token in step.tokens] == chunk.tokens
    assert [step.start for step in steps] == list(range(0, len(chunk.tokens), size))
    assert all(len(step.tokens) == size for step in steps[:-1])
    for step in steps:
        assert all(part.tokens == part.piece.tokens[part.at : part.at + len(part.tokens)] for part in step.parts)


@given(st.floats(0.0001, 0.1), st.integers(1, 2048))
def test_a_step_takes_no_longer_than_a_stop_may(a_token_s: float, most: int) -> None:
    """Whatever the speed; it settles, and is the whole micro-batch where that is fast enough."""
    pace, size = DecodePace(most, stoppable=False), 0
    while size != pace.size:
        size = pace.size
        pace.took(size, size * a_token_s)
    assert size == 1 or size * a_token_s <= LONGEST_S
    if most * a_token_s < LONGEST_S * 0.999:
        assert size == most


@given(st.integers(1, 2048), st.floats(0, 100), st.integers(1, 2048))
def test_a_size_is_between_one_and_the_micro_batch(n_tokens: int, seconds: float, most: int) -> None:
    assert 1 <= next_size(n_tokens, seconds, most) <= most


def test_what_can_be_stopped_is_one_step() -> None:
    pace = DecodePace(256, stoppable=True)
    pace.took(256, 10.0)
    assert [step.tokens for step in pace.steps(chunk_of(100, 156))] == [chunk_of(100, 156).tokens]


class Slow(Context):
    """As slow as a model of some billion weights, without the waiting."""

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        Clock.now_s += len(tokens) * A_TOKEN_S
        Clock.longest = max(Clock.longest, len(tokens))
        return super().decode(tokens, pos, logits=logits)


class Clock:
    now_s = 0.0
    longest = 0


@pytest.mark.parametrize("name", ["mamba", "lfm2"])
def test_a_slow_recurrent_model_stops_between_two_steps(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chatapp.engine.kv.cache.time.perf_counter", lambda: Clock.now_s)
    cache = CacheRequest(n_ctx=1024, micro_batch=256, type_k="f32", type_v="f32")
    with tiny_session(tiny(name, tmp_path), cache, kind=Slow) as chat:
        Clock.longest = 0
        chat.stop = lambda: len(chat.all(Prefilled)) == 4
        chat.events.clear()
        chat.session.send(1, english(300), sampling(4))
        assert chat.last(TurnDone).stop_reason == "cancelled"
        assert Clock.longest * A_TOKEN_S <= LONGEST_S
        assert chat.last(Prefilled).done < 256, "inside the first chunk"
        chat.stop = lambda: False
        stopped = chat.send(1, english(300))
    with tiny_session(tiny(name, tmp_path), cache, kind=Slow) as chat:
        assert chat.send(1, english(300)) == stopped
