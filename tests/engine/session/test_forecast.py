"""What is foreseen of a draft is what then happens: turns that leave, and tokens that are processed again."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chatapp.engine.interrupts import CancelledError
from chatapp.engine.kv.prefill_plan import Piece, chunks
from chatapp.protocol.events import Evicted, Foreseen, Opened, TurnDone
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.process import english
from tests.support.engine.tiny_session import TinySession, sampling, tiny_session
from tests.support.tiny_models import tiny

KINDS = {
    "llama": "sinks",  # keeps and renumbers
    "llama-linear": "window",
    "mixtral": "rebuild",  # processes again whenever anything leaves
    "llama-yarn": "slide",  # keeps positions, and begins anew at the limit of its training
    "gemma3": "sinks",  # a pruned window that may have lost what it would reach to
    "window-only": "slide",
    "mamba": "rebuild",
    "smollm3": "dense",
}
Turns = list[tuple[int, int]]
"""Words of a message (7 tokens each, about), and tokens of the reply."""


def send(chat: TinySession, turn: int, n_words: int, n_reply: int) -> tuple[Foreseen, list[Evicted], TurnDone]:
    """A draft, as foreseen, and then sent; evictions for the prompt only."""
    text = english(n_words, 100 * turn)
    chat.events.clear()
    chat.session.forecast(turn, text)
    foreseen = chat.last(Foreseen)
    chat.events.clear()
    chat.session.send(turn, text, sampling(n_reply))
    return foreseen, [event for event in chat.all(Evicted) if "prompt" in event.why], chat.last(TurnDone)


def check(foreseen: Foreseen, left: Sequence[Evicted], done: TurnDone) -> None:
    """Told and done."""
    assert foreseen.reprocessed == sum(event.reprocessed_tokens for event in left)
    assert foreseen.leaving == list(dict.fromkeys(turn for event in left for turn in event.turns))
    if done.stop_reason == "window_full" and not done.stats.reply_tokens:  # else it was the reply that did not fit
        assert foreseen.partly
    else:
        assert foreseen.tokens == done.stats.prompt_tokens
        assert foreseen.partly == any(event.partial_turn is not None for event in left)


def converse(path: Path, policy: str, turns: Turns) -> int:
    """A conversation, each turn foreseen; how many tokens were processed again for prompts."""
    again = 0
    with tiny_session(path, CacheRequest(n_ctx=512, micro_batch=32, policy=policy)) as chat:
        for turn, (n_words, n_reply) in enumerate(turns, 1):
            foreseen, left, done = send(chat, turn, n_words, n_reply)
            check(foreseen, left, done)
            again += foreseen.reprocessed
            if done.stop_reason == "window_full":
                break
    return again


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=st.lists(st.tuples(st.integers(1, 50), st.integers(1, 30)), min_size=3, max_size=5))
@example(turns=[(20, 1), (50, 27), (1, 1)])
def test_a_draft_is_foreseen_as_it_is_then_processed(tmp_path: Path, name: str, turns: Turns) -> None:
    converse(tiny(name, tmp_path), KINDS[name], turns)


@pytest.mark.parametrize(
    ("name", "turns"),
    [
        ("mixtral", [(30, 4), (30, 4), (10, 4)]),
        ("llama-yarn", [(60, 1)] * 14),  # to position 4,096
        ("gemma3", [(78, 4), (78, 4)]),  # all but the sinks leaves at once, which the window had left behind
        ("mamba", [(30, 4), (30, 4), (10, 4)]),
    ],
)
def test_what_is_processed_again_is_foreseen(tmp_path: Path, name: str, turns: Turns) -> None:
    """Each of the ways in which a prompt can make the engine process more than itself."""
    assert converse(tiny(name, tmp_path), KINDS[name], turns) > 0


def test_a_paste_longer_than_the_window_drives_out_its_own_beginning(tmp_path: Path) -> None:
    """It comes in chunk by chunk, and each one may need room: what the first chunk needs is not all."""
    with tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=512, micro_batch=32)) as chat:
        send(chat, 1, 20, 4)
        foreseen, left, done = send(chat, 2, 150, 4)
        check(foreseen, left, done)
        assert foreseen.partly
        assert len(left) > 1


def test_what_a_stop_left_undone_is_foreseen(tmp_path: Path) -> None:
    """An opening that was stopped is done before the message: that is what the person will wait for."""
    said = [
        Message(turn=turn, role=role, text=english(12, 20 * turn))
        for turn in (1, 2, 3)
        for role in ("user", "assistant")
    ]
    with tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=512, micro_batch=32)) as chat:
        answers = iter([False] * 4)
        chat.stop = lambda: next(answers, True)
        with pytest.raises(CancelledError, match="before your next message"):
            chat.open(said)
        assert chat.shown.n_used == 0
        chat.stop = lambda: False
        foreseen, left, done = send(chat, 4, 20, 4)
        opened = chat.last(Opened)
        assert foreseen.tokens == done.stats.prompt_tokens
        assert foreseen.reprocessed == opened.processed_tokens + sum(event.reprocessed_tokens for event in left) > 0
        assert opened.in_window_turns + opened.evicted_turns == 3


def test_a_rebuild_that_was_stopped_is_foreseen(tmp_path: Path) -> None:
    """Taking a turn back from a recurrent state makes it again; where that was stopped it comes before the message."""
    with tiny_session(tiny("mamba", tmp_path), CacheRequest(n_ctx=512, micro_batch=32, checkpoint_mib=0)) as chat:
        for turn in (1, 2):
            send(chat, turn, 15, 4)
        answers = iter([False])
        chat.stop = lambda: next(answers, True)
        chat.session.undo(2)
        chat.stop = lambda: False
        text = english(10)
        chat.session.forecast(1, text)
        foreseen, before = chat.last(Foreseen), chat.session.kv.processed
        chat.session.send(2, text, sampling(1))
        done = chat.last(TurnDone)
        assert foreseen.reprocessed > 0
        assert chat.session.kv.processed - before == foreseen.tokens + foreseen.reprocessed
        assert foreseen.tokens == done.stats.prompt_tokens


@given(
    sizes=st.lists(st.integers(0, 9), max_size=6),
    most=st.integers(1, 7),
    boundaries=st.sets(st.integers(-2, 60), max_size=4),
)
def test_chunks_are_the_pieces_in_order(sizes: list[int], most: int, boundaries: set[int]) -> None:
    """Nothing is lost or doubled, none is too long or empty, and one ends at each boundary inside."""
    pieces = [Piece(turn, "user", tuple(range(10 * turn, 10 * turn + size))) for turn, size in enumerate(sizes)]
    made = list(chunks(pieces, most, boundaries))
    flat = [token for piece in pieces for token in piece.tokens]
    assert [token for chunk in made for token in chunk.tokens] == flat
    assert all(0 < len(chunk.tokens) <= most for chunk in made)
    starts = [chunk.start for chunk in made]
    assert starts == [sum(len(other.tokens) for other in made[:i]) for i in range(len(made))]
    assert {at for at in boundaries if 0 <= at < len(flat)} <= {*starts}
    for chunk in made:
        for part in chunk.parts:
            assert part.piece.tokens[part.at : part.at + len(part.tokens)] == part.tokens
