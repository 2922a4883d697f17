"""Reading and writing a saved cache can be stopped between two pieces of it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from chatapp.cache.ledger import Ledger
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.kv import state_file
from chatapp.protocol.events import Opened, Snapshot
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.tiny_session import tiny_session
from tests.support.tiny_models import tiny

STATE = bytes(range(256)) * 8
HEADER = state_file.header("model", "settings", "conversation", Ledger(), closed=True)


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state_file, "PIECE_BYTES", 100)


def at_look(number: int) -> Callable[[], bool]:
    """Esc is pressed before the `number`-th look."""
    looks = iter(range(1, 10**6))
    return lambda: next(looks) >= number


@pytest.mark.parametrize("number", [1, 2, 20])
def test_a_stop_leaves_the_file_as_it_was(tmp_path: Path, number: int) -> None:
    path = tmp_path / "cache"
    size = state_file.write(path, HEADER, STATE)
    assert size == path.stat().st_size
    before = path.read_bytes()
    with pytest.raises(CancelledError):
        state_file.write(path, HEADER, STATE[::-1], at_look(number))
    with pytest.raises(CancelledError):
        state_file.read(path, at_look(number))
    assert [file.name for file in tmp_path.iterdir()] == ["cache"]
    assert path.read_bytes() == before
    head, state = state_file.read(path)
    assert (head, bytes(state)) == (HEADER, STATE)


@pytest.mark.parametrize("kept", [0, 10, 48, 60, 500])
def test_a_file_that_was_cut_off_is_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "cache"
    state_file.write(path, HEADER, STATE)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(state_file.StateError):
        state_file.read(path)


def test_an_opening_that_is_stopped_while_its_cache_is_read(tmp_path: Path) -> None:
    """The cache is empty then; the next step reads it again, whole."""
    said = [Message(turn=1, role="user", text="the word"), Message(turn=1, role="assistant", text="of it")]
    with tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=256, micro_batch=32)) as chat:
        path = tmp_path / "cache"
        held = chat.open(said).processed_tokens
        chat.session.save(path)
        chat.open([])
        chat.events.clear()
        chat.stop = at_look(3)
        with pytest.raises(CancelledError):
            chat.session.open("Be brief.", said, path)
        assert chat.context.positions is None
        assert chat.last(Snapshot).n_used == 0
        chat.stop = lambda: False
        chat.send(2, "the")
        assert chat.last(Opened).restored_tokens == held
