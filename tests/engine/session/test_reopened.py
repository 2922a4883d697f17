"""A conversation whose last turn is longer than the window is opened again."""

from pathlib import Path

import pytest

from chatapp.errors import UserError
from chatapp.protocol.events import Evicted, Foreseen, Opened, Prefilled, TurnDone, Warned
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.process import english
from tests.support.engine.tiny_session import tiny_session
from tests.support.tiny_models import tiny

PASTE = [
    Message(turn=1, role="user", text="Hello."),
    Message(turn=1, role="assistant", text="Hello to you."),
    Message(turn=2, role="user", text=english(150)),
    Message(turn=2, role="assistant", text="That was long."),
]


@pytest.mark.parametrize("name", ["llama", "gemma3", "mamba"])
def test_of_a_turn_longer_than_the_window_only_what_can_stay_is_processed(tmp_path: Path, name: str) -> None:
    """And that is said before it begins."""
    with tiny_session(tiny(name, tmp_path), CacheRequest(n_ctx=256, micro_batch=32)) as chat:
        before = chat.session.kv.processed
        opened = chat.open(PASTE)
        assert chat.session.kv.processed - before == opened.processed_tokens < 256
        assert (opened.in_window_turns, opened.evicted_turns, opened.reused_tokens) == (1, 1, 0)
        assert not chat.all(Evicted)
        (warned,) = chat.all(Warned)
        kept = chat.shown.n_used - chat.shown.n_sink
        assert warned.text.startswith(f"Turn 2 is longer than the window: the newest {kept} of its ")
        assert chat.events.index(warned) < chat.events.index(chat.all(Prefilled)[0])
        lost = {run.turn: run.lost for run in chat.shown.runs if run.lost}
        assert lost == {2: next(ghost.tokens for ghost in chat.shown.ghosts if ghost.turn == 2)}
        book = chat.session.kv.ledger
        assert next(run for run in book.of_turn(2) if run.role == "user").opening > 0
        assert chat.model.piece(book.tokens[-1]) == b"."
        chat.session.forecast(1, "And?")
        chat.send(3, "And?")
        assert chat.last(TurnDone).stats.reused_tokens == opened.n_sink + kept
        assert chat.last(TurnDone).stats.processed_tokens == chat.last(TurnDone).stats.prompt_tokens


def test_dense_omits_no_part_of_a_turn(tmp_path: Path) -> None:
    with (
        tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=256, policy="dense")) as chat,
        pytest.raises(UserError, match="does not fit"),
    ):
        chat.open(PASTE)


def test_what_is_foreseen_before_a_stopped_opening_is_what_can_stay(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=256, micro_batch=32)) as chat:
        chat.stop = lambda: True
        with pytest.raises(Exception, match="before your next message"):
            chat.open(PASTE)
        chat.stop = lambda: False
        chat.session.forecast(1, "And?")
        foreseen = chat.last(Foreseen)
        chat.send(3, "And?")
        assert foreseen.reprocessed == chat.last(Opened).processed_tokens < 256
