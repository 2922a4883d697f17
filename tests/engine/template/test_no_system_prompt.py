"""A model whose template takes no system prompt: it is the beginning of the first message, and stays when that leaves.

The witness is a conversation without a system prompt whose first message is both, on the same model.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from chatapp.engine.native.llama import Model
from chatapp.engine.template.fallbacks import CHATML
from chatapp.protocol.commands import Load, Open, Send
from chatapp.protocol.events import (
    Foreseen,
    Loaded,
    Opened,
    Prefilled,
    Recalled,
    Replied,
    Snapshot,
    Text,
    TurnDone,
    TurnStarted,
)
from chatapp.protocol.values import CacheRequest, CacheSettings, EngineSettings, Message
from tests.support.engine.process import Engine, greedy
from tests.support.engine.tiny_session import TinySession, sampling, tiny_session
from tests.support.templated import with_template
from tests.support.tiny_gguf import TEMPLATE
from tests.support.tiny_models import tiny

REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
SYSTEM = "you are one of them"
TEXT = "and then an other word that they said"


class Pair:
    """The session under test and its witness, which are asked the same."""

    def __init__(self, tested: TinySession, witness: TinySession, folder: Path) -> None:
        self.tested, self._witness = tested, witness
        self._states = {id(tested): folder / "tested", id(witness): folder / "witness"}
        self._said: list[Message] = []

    def both(self, act: Callable[[TinySession], None]) -> None:
        """Afterwards both caches hold the same tokens, and the same was told on the way, while the first turn is there
        whole.
        """
        told: list[list[type]] = []
        for chat in (self.tested, self._witness):
            chat.events.clear()
            act(chat)
            told.append([type(event) for event in chat.events if not isinstance(event, Snapshot | Prefilled)])
            assert chat.session.kv.mismatch() is None
        ours, theirs = (chat.session.kv.ledger for chat in (self.tested, self._witness))
        if all(1 in book.in_window and not book.gone for book in (ours, theirs)):
            assert ours.tokens == theirs.tokens
            assert told[0] == told[1]

    def open(self, turns: int = 0, pinned: Sequence[int] = (), *, saved: bool = False) -> None:
        """The first turns of what was said."""

        def act(chat: TinySession) -> None:
            said = [
                Message(turn=each.turn, role=each.role, text=self._text(chat, each.turn, each.text))
                if each.role == "user"
                else each
                for each in self._said[: 2 * turns]
            ]
            state = self._states[id(chat)] if saved else None
            chat.session.open(SYSTEM if chat is self.tested else None, said, state, pinned)

        self.both(act)

    def save(self) -> None:
        self.both(lambda chat: chat.session.save(self._states[id(chat)]))

    def send(self, turn: int) -> None:
        def act(chat: TinySession) -> None:
            text = self._text(chat, turn, f"{TEXT} {turn}")
            chat.session.forecast(1, text)
            chat.session.send(turn, text, sampling(4))
            if not chat.session.kv.ledger.gone:
                assert chat.last(Foreseen).tokens == chat.last(TurnStarted).prompt_tokens
            assert chat.last(TurnDone).stop_reason != "window_full"

        self.both(act)
        reply = "".join(event.text for event in self.tested.all(Text))
        self._said = [each for each in self._said if each.turn < turn]
        self._said.append(Message(turn=turn, role="user", text=f"{TEXT} {turn}"))
        self._said.append(Message(turn=turn, role="assistant", text=reply))

    @property
    def held(self) -> str:
        """What the cache holds, spelled."""
        tokens = self.tested.session.kv.ledger.tokens
        return b"".join(self.tested.model.piece(token, special=True) for token in tokens).decode(errors="replace")

    def _text(self, chat: TinySession, turn: int, text: str) -> str:
        return f"{SYSTEM}\n\n{text}" if chat is self._witness and turn == 1 else text


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(params=["llama", "gpt-oss"])
def pair(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Pair]:
    """Under a policy that renumbers, and in a pruned window under one that must not."""

    def brought(_: Model) -> str:
        return REFUSING + TEMPLATE

    monkeypatch.setattr(Model, "chat_template", brought)
    model = tiny(request.param, folder)
    with ExitStack() as stack:
        cache = CacheRequest(n_ctx=512, micro_batch=32)
        tested, witness = (stack.enter_context(tiny_session(model, cache)) for _ in range(2))
        made = Pair(tested, witness, tmp_path)
        made.open()
        yield made


def test_the_first_turn_begins_with_it(pair: Pair) -> None:
    pair.send(1)
    assert f"<|im_start|>user\n{SYSTEM}\n\n{TEXT} 1<|im_end|>" in pair.held
    pair.send(2)
    assert pair.held.count(SYSTEM) == 1


def test_the_first_turn_is_taken_back_and_made_again_with_it(pair: Pair) -> None:
    pair.send(1)
    pair.both(lambda chat: chat.session.regenerate(1, sampling(4, seed=2)))
    pair.both(lambda chat: chat.session.undo(1))
    assert pair.held.endswith(f"<|im_start|>user\n{SYSTEM}\n\n"), "it is there, and the message is written behind it"
    pair.send(1)
    assert f"<|im_start|>user\n{SYSTEM}\n\n{TEXT} 1<|im_end|>" in pair.held
    pair.send(2)
    pair.both(lambda chat: chat.session.undo(2))
    pair.send(2)
    assert pair.held.count(SYSTEM) == 1


def test_it_is_there_when_the_conversation_is_opened_again(pair: Pair) -> None:
    """From the cache, from disk, processed anew, and after a stop."""
    for turn in (1, 2):
        pair.send(turn)
    whole = pair.held
    pair.save()
    pair.open(1)
    assert pair.tested.last(Opened).reused_tokens
    pair.open()
    pair.open(2)
    assert pair.tested.last(Opened).processed_tokens
    assert pair.held == whole
    pair.open()
    pair.open(2, saved=True)
    assert pair.tested.last(Opened).restored_tokens
    assert pair.held.startswith(whole)
    pair.send(3)
    assert pair.held.count(SYSTEM) == 1


def test_it_stays_as_a_message_of_its_own_when_the_first_turn_leaves(pair: Pair) -> None:
    """The message that it began ends with it, and comes back with an opening of its own."""
    alone = f"<|im_start|>user\n{SYSTEM}\n\n<|im_end|>\n<|im_start|>"
    first = f"<|im_start|>user\n{TEXT} 1<|im_end|>\n"
    turn = 0
    while turn < 3 or 1 in pair.tested.session.kv.ledger.in_window:
        turn += 1
        pair.send(turn)
    assert alone in pair.held
    assert first not in pair.held
    pair.both(lambda chat: chat.session.recall([1]))
    assert pair.tested.last(Recalled).turns == [1]
    assert first in pair.held
    pair.send(turn + 1)
    pair.open(turn + 1)
    assert alone in pair.held
    pair.open()
    pair.open(turn + 1)
    assert alone in pair.held, "processed anew, without the first turn"
    pair.open()
    pair.open(turn + 1, pinned=[1])
    assert f"<|im_start|>user\n{SYSTEM}\n\n{TEXT} 1<|im_end|>\n" in pair.held
    assert pair.held.count(SYSTEM) == 1


def test_each_of_several_prompts_begins_with_it(pair: Pair) -> None:
    replies: list[list[tuple[int, str]]] = []

    def act(chat: TinySession) -> None:
        tested = chat is pair.tested
        prompts = [each if tested else f"{SYSTEM}\n\n{each}" for each in ("the word", "what word")]
        chat.session.several(SYSTEM if tested else None, prompts, sampling(4))
        replies.append([(each.number, each.text) for each in chat.all(Replied)])

    pair.both(act)
    assert replies[0] == replies[1]
    assert len(replies[0]) == 2


def test_the_next_conversation_knows_nothing_of_the_one_before(starter: Path, tmp_path: Path) -> None:
    """The real model in the real process; what became of the system prompt is told once, when it is loaded."""
    model = with_template(starter, tmp_path / "nosys.gguf", REFUSING + CHATML)
    with Engine(tmp_path / "log") as engine:
        engine.post(Load(path=str(model), cache=CacheSettings(n_ctx=512), engine=EngineSettings()))
        loaded = engine.until(Loaded).one(Loaded)
        (warning,) = loaded.warnings
        assert warning.startswith("The model's chat template does not accept a system prompt: it is put in front of")
        engine.post(Open(system="You are a pirate.", messages=[]))
        engine.until(Opened)
        first = engine.send(1, "My secret code is 4711. Reply with: Noted 4711.", greedy(8))
        engine.post(Open(system="You are a pirate.", messages=[]))
        assert engine.until(Opened).one(Opened).reused_tokens == 0
        engine.post(Send(turn=1, text="What is my secret code?", sampling=greedy(24)))
        second = engine.until(TurnDone)
        assert second.started.reused_tokens == 0
        assert second.done.stats.prompt_tokens < first.done.stats.prompt_tokens
        assert "4711" not in second.text
