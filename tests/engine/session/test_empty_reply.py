"""A reply whose first token is its end: the model had nothing to say, and that is part of the conversation."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatapp.engine.native.llama import Model
from chatapp.protocol.events import RolledBack, TurnDone, Warned
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.tiny_session import TinySession, tiny_session
from tests.support.tiny_models import tiny

CACHE = CacheRequest(n_ctx=512, micro_batch=32)


@dataclass
class Silence:
    """While `falls`, each token is an end."""

    falls: bool = False


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Silence:
    made, is_end = Silence(), Model.is_end

    def ends(self: Model, token: int) -> bool:
        return made.falls or is_end(self, token)

    monkeypatch.setattr(Model, "is_end", ends)
    return made


@pytest.fixture
def first() -> list[str]:
    """The reply to the first message, once there is one."""
    return []


@pytest.fixture
def chat(tmp_path: Path, silence: Silence, first: list[str]) -> Generator[TinySession]:
    with tiny_session(tiny("llama", tmp_path), CACHE) as made:
        first.append(made.send(1, "Good morning", 6))
        silence.falls = True
        assert made.send(2, "Say nothing") == ""
        silence.falls = False
        yield made


def roles(chat: TinySession) -> list[tuple[int, str]]:
    return list(dict.fromkeys((run.turn, run.role) for run in chat.shown.runs))


def test_it_is_kept_and_told(chat: TinySession) -> None:
    """Else the model would never learn that it was asked, and the person's words would be gone from the window."""
    done = chat.last(TurnDone)
    assert (done.stop_reason, done.stats.reply_tokens, chat.all(RolledBack)) == ("end", 0, [])
    assert [event.text for event in chat.all(Warned)] == ["The reply is empty: the model ended it at once."]
    assert roles(chat)[-2:] == [(2, "user"), (2, "assistant")]
    before = chat.shown.n_used
    chat.send(3, "And now?")
    assert chat.last(TurnDone).stats.reused_tokens == before
    assert chat.shown.mismatch is None


def test_another_reply_takes_its_place(chat: TinySession) -> None:
    prompt = chat.shown.n_used
    assert chat.again(2, 5) != ""
    assert chat.last(TurnDone).stats.reply_tokens > 0
    assert chat.shown.n_used == prompt + chat.last(TurnDone).stats.reply_tokens


def test_it_can_be_taken_back(chat: TinySession) -> None:
    chat.events.clear()
    chat.session.undo(2)
    assert {turn for turn, _ in roles(chat)} == {0, 1}
    chat.send(2, "Say something")
    assert chat.last(TurnDone).stop_reason in ("end", "length")


def test_a_stored_conversation_with_it_is_the_same_conversation(chat: TinySession, first: list[str]) -> None:
    """It is known again, and where the cache is empty it comes back as it was."""
    said = [
        Message(turn=1, role="user", text="Good morning"),
        Message(turn=1, role="assistant", text=first[0]),
        Message(turn=2, role="user", text="Say nothing"),
        Message(turn=2, role="assistant", text=""),
    ]
    opened = chat.open(said)
    assert (opened.processed_tokens, opened.in_window_turns) == (0, 2)
    chat.open([])
    opened = chat.open(said)
    assert opened.in_window_turns == 2
    assert roles(chat)[-1] == (2, "assistant")
