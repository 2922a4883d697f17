"""A conversation that cannot be opened: the cache is empty then, and no message is answered from another one.

Every way in which an opening goes wrong is tried on a cache that holds a secret of the conversation before.
"""

import asyncio
import re
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chatapp.engine.client import Engine, EngineClient
from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.session.session import Session
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.engine.template.fallbacks import CHATML
from chatapp.errors import EngineError, ModelError, SwachatError, UserError
from chatapp.protocol.commands import (
    Command,
    Forecast,
    Load,
    Open,
    Pin,
    Recall,
    Regenerate,
    Save,
    Send,
    Undo,
)
from chatapp.protocol.events import Evicted, Failed, Foreseen, Opened, Snapshot, Spelled, Text
from chatapp.protocol.values import CacheRequest, CacheSettings, EngineSettings, Message
from tests.support.engine.process import Engine as EngineProcess
from tests.support.engine.process import greedy
from tests.support.engine.tiny_session import TinySession, sampling, tiny_session
from tests.support.fake_engine.engine import FakeEngine
from tests.support.fake_engine.script import Script
from tests.support.templated import with_template
from tests.support.tiny_gguf import TEMPLATE
from tests.support.tiny_models import tiny

POISON = "had but not"
"""The template in these tests refuses a system prompt with this text, and fails for a message with it."""
REFUSING = (
    "{% for m in messages %}{% if '" + POISON + "' in m.content %}"
    "{% if m.role == 'system' %}{{ raise_exception('No ' + m.role + '.') }}{% else %}{{ 1 // 0 }}{% endif %}"
    "{% endif %}{% endfor %}" + TEMPLATE
)
SECRET = "they said one had an each other word"
LONG = "the of and " * 200


class Failing(Context):
    """llama.cpp as it fails: `left` more decodes work, then none does."""

    left: int | None = None

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                return 2
        return super().decode(tokens, pos, logits=logits)


def said(*texts: str, first: int = 1) -> list[Message]:
    """Turns of these messages, each with the reply "yes"."""
    return [
        Message(turn=turn, role=role, text=text)
        for turn, asked in enumerate(texts, first)
        for role, text in (("user", asked), ("assistant", "yes"))
    ]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@contextmanager
def with_secret(path: Path, patch: pytest.MonkeyPatch, policy: str = "auto") -> Generator[TinySession]:
    """A session on a model with the template above, whose cache holds a conversation with a secret."""

    def brought(_: Model) -> str:
        return REFUSING

    patch.setattr(Model, "chat_template", brought)
    cache = CacheRequest(n_ctx=256, micro_batch=32, policy=policy)
    with tiny_session(tiny("llama", path), cache, kind=Failing) as chat:
        chat.open(said(SECRET))
        assert chat.shown.n_used > len(SECRET.split())
        chat.events.clear()
        yield chat


def fail_decode(chat: TinySession, after: int) -> None:
    assert isinstance(chat.context, Failing)
    chat.context.left = after


def stop_at(chat: TinySession, chunk: int) -> None:
    asked = iter(range(10**9))
    chat.stop = lambda: next(asked) >= chunk


@dataclass(frozen=True)
class Way:
    """How an opening goes wrong, and what is raised."""

    raises: type[Exception]
    words: str
    messages: Sequence[Message] = ()
    system: str | None = None
    policy: str = "auto"
    before: Callable[[TinySession], None] = lambda _: None

    def open(self, chat: TinySession) -> None:
        chat.session.open(self.system, list(self.messages))


REFUSALS = {
    "the template refuses the system prompt": Way(ModelError, "refuses this conversation: No ", system=POISON),
    "the template fails for a message": Way(ModelError, "fails: ZeroDivisionError", said("a", POISON)),
    "the template fails for the second half": Way(ModelError, "fails: ZeroDivisionError", said(SECRET, POISON)),
    "the system prompt is too long": Way(
        UserError, r"The system prompt and the sinks take \d+ of 256 tokens\.", system="the " * 60
    ),
    "the last turn does not fit": Way(
        UserError, "The conversation does not fit: the window of 256 tokens is full", said(LONG), policy="dense"
    ),
}
FAILURES = {
    "the first decode fails": Way(EngineError, "could not process", said(LONG), before=lambda t: fail_decode(t, 0)),
    "a later decode fails": Way(EngineError, "could not process", said(LONG), before=lambda t: fail_decode(t, 5)),
    "the rest of what is there fails": Way(
        EngineError, "could not process", said(SECRET, "and then"), before=lambda t: fail_decode(t, 0)
    ),
}
STOPS = {
    "a cancel before the first chunk": Way(
        CancelledError, "before your next message", said("a"), before=lambda t: stop_at(t, 0)
    ),
    "a cancel after the first chunk": Way(
        CancelledError, "before your next message", said("a " * 40), before=lambda t: stop_at(t, 1)
    ),
    "a cancel of the rest of what is there": Way(
        CancelledError, "before your next message", said(SECRET, "and " * 60), before=lambda t: stop_at(t, 1)
    ),
}
PATIENCE_S = 30.0
COMMANDS: dict[str, Callable[[Session, Path], None]] = {
    "send": lambda session, _: session.send(2, "the word", sampling(4)),
    "regenerate": lambda session, _: session.regenerate(1, sampling(4)),
    "undo": lambda session, _: session.undo(1),
    "pin": lambda session, _: session.pin(1, True),
    "recall": lambda session, _: session.recall([1]),
    "forecast": lambda session, _: session.forecast(1, "the word"),
    "save": lambda session, path: session.save(path / "cache"),
}


def assert_empty(chat: TinySession) -> None:
    """Nothing in llama.cpp, nothing in the ledger, and the person was told."""
    assert chat.context.positions is None
    assert chat.last(Snapshot).n_used == 0
    chat.session.spell(0, 10**6)
    assert chat.last(Spelled).pieces == []


def held(chat: TinySession) -> list[str]:
    chat.session.spell(0, 10**6)
    return chat.last(Spelled).pieces


@pytest.mark.parametrize("name", REFUSALS | FAILURES | STOPS)
def test_an_opening_that_goes_wrong_leaves_an_empty_cache(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    way = (REFUSALS | FAILURES | STOPS)[name]
    with with_secret(folder, monkeypatch, way.policy) as chat:
        way.before(chat)
        with pytest.raises(way.raises, match=way.words):
            way.open(chat)
        assert_empty(chat)
        assert chat.all(Opened) == []


def test_an_error_that_nobody_foresaw_leaves_an_empty_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def preamble(*_: object, **__: object) -> tuple[int, ...]:
        raise ZeroDivisionError

    with with_secret(folder, monkeypatch) as chat:
        with monkeypatch.context() as patch:
            patch.setattr(ChatTemplate, "preamble", preamble)
            with pytest.raises(ZeroDivisionError):
                chat.session.open(None, [])
        assert_empty(chat)
        chat.send(1, "the word")
        assert chat.last(Opened).reused_tokens == 0


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", REFUSALS)
def test_nothing_is_done_for_a_conversation_that_is_not_open(
    name: str, command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked twice: the second time is not answered from what the first one left."""
    way = REFUSALS[name]
    with with_secret(folder, monkeypatch, way.policy) as chat:
        with pytest.raises(way.raises) as refused:
            way.open(chat)
        assert isinstance(refused.value, SwachatError)
        for _ in range(2):
            with pytest.raises(way.raises) as again:
                COMMANDS[command](chat.session, folder)
            assert isinstance(again.value, SwachatError)
            assert again.value.what == f"The conversation is not open. {refused.value.what}"
            assert again.value.todo == refused.value.todo
            assert_empty(chat)
        assert not (folder / "cache").exists()


@pytest.mark.parametrize("name", FAILURES | STOPS)
def test_the_next_message_opens_what_was_not_opened(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once nothing is in its way: then the cache is what it would be if nothing had been there before."""
    way = (FAILURES | STOPS)[name]
    turn = len(way.messages) // 2 + 1
    with with_secret(folder, monkeypatch) as chat:
        chat.open([])
        chat.open(way.messages, system=None)
        reply = chat.send(turn, "the word")
        expected = held(chat)
    with with_secret(folder, monkeypatch) as chat:
        way.before(chat)
        with pytest.raises(way.raises):
            way.open(chat)
        assert isinstance(chat.context, Failing)
        chat.context.left, chat.stop = None, lambda: False
        assert chat.send(turn, "the word") == reply
        assert chat.last(Opened).reused_tokens == 0
        assert held(chat) == expected


def test_an_opening_that_goes_wrong_again_is_told_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with with_secret(folder, monkeypatch) as chat:
        fail_decode(chat, 0)
        with pytest.raises(EngineError, match=r"^llama\.cpp could not process"):
            chat.session.open(None, said("a"))
        with pytest.raises(EngineError, match=r"^The conversation is not open\. llama\.cpp could not process"):
            chat.send(2, "the word")
        assert_empty(chat)
        fail_decode(chat, 100)
        stop_at(chat, 0)
        with pytest.raises(CancelledError, match="before your next message"):
            chat.send(2, "the word")
        assert_empty(chat)
        chat.stop = lambda: False
        chat.session.forecast(1, "the word")  # what was only stopped is foreseen with all that fills the cache first
        foreseen = chat.last(Foreseen)
        chat.send(2, "the word")
        assert foreseen.reprocessed == chat.last(Opened).processed_tokens > 0


def test_an_eviction_that_no_decode_followed_is_not_told_of_the_next_conversation(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with with_secret(folder, monkeypatch) as chat:
        for after in range(30):
            chat.open([], system=None)
            fail_decode(chat, after)
            with pytest.raises(EngineError):
                chat.send(1, LONG)
            fail_decode(chat, 10**6)
            chat.open([], system=None)
            chat.send(1, "the word")
            assert chat.all(Evicted) == []


@pytest.mark.parametrize("command", COMMANDS)
def test_where_no_conversation_was_opened_nothing_is_done(
    command: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after several prompts at once, which close the one that was open."""
    with with_secret(folder, monkeypatch) as chat:
        chat.session.several(None, ["the word"], sampling(2))
        with pytest.raises(UserError, match=r"^No conversation is open\. Start a new one, or open a stored one\.$"):
            COMMANDS[command](chat.session, folder)
        chat.open([])
        chat.send(1, "the word")


# --------------------------------------------------------------------------- through the protocol

TOO_LONG = "the " * 400
OPENED: dict[str, list[Open]] = {
    "nothing": [],
    "a refused conversation": [Open(system=TOO_LONG, messages=said("a"))],
    "another conversation and a refused one": [
        Open(system=None, messages=said("a")),
        Open(system=TOO_LONG, messages=said("a")),
    ],
}
ASKED: list[Command] = [
    Send(turn=2, text="the word", sampling=sampling(4)),
    Regenerate(turn=1, sampling=sampling(4)),
    Undo(turn=1),
    Pin(turn=1, pinned=True),
    Recall(turns=[1]),
    Forecast(id=1, text="the word"),
    Save(path="/no/such/folder/cache"),
]


async def told(engine: Engine, path: Path, opened: Sequence[Open]) -> list[str]:
    """What a person gets to know: what was opened, what was refused in which words, and what was in the cache then."""
    await engine.start()
    engine.post(Load(path=str(path), cache=CacheSettings(n_ctx=256), engine=EngineSettings()))
    for command in (*opened, *ASKED):
        engine.post(command)
    lines: list[str] = []
    n_failed, empty = len(ASKED) + bool(opened), True
    async with asyncio.timeout(PATIENCE_S):
        async for event in engine.events():
            if isinstance(event, Opened):
                lines.append("opened")
            elif isinstance(event, Snapshot):
                empty = not event.n_used
            elif isinstance(event, Failed):
                refusal = re.sub("[0-9]+ of", "N of", f"{event.what} {event.todo}")
                lines.append(f"{event.kind}, {'nothing' if empty else 'something'} in the cache: {refusal}")
                n_failed -= 1
                if not n_failed:
                    break
    await engine.stop()
    return lines


@pytest.mark.parametrize("name", OPENED)
async def test_the_scripted_engine_refuses_as_the_real_one_does(name: str, folder: Path) -> None:
    path = tiny("llama", folder)
    real = await told(EngineClient(folder / "log"), path, OPENED[name])
    assert await told(FakeEngine(Script(n_ctx=256)), path, OPENED[name]) == real
    refusal = "The conversation is not open. The system prompt" if OPENED[name] else "No conversation is open."
    assert sum(f"user, nothing in the cache: {refusal}" in line for line in real) == len(ASKED)
    assert real.count("opened") == (name == "another conversation and a refused one")


PIRATES = (
    "{% for m in messages %}{% if m.role == 'system' and 'pirate' in m.content %}{{ raise_exception('No pirates') }}"
    "{% endif %}{% endfor %}" + CHATML
)
"""A template that refuses some conversations only: no trial at load finds that out."""


def test_a_secret_stays_in_its_conversation(starter: Path, tmp_path: Path) -> None:
    """In the real engine process, with the real model: the next conversation, which is refused, does not know of it."""
    model = with_template(starter, tmp_path / "pirates.gguf", PIRATES)
    with EngineProcess(tmp_path / "log") as engine:
        engine.load(model, CacheSettings(n_ctx=512))
        engine.open(system="Be brief.")
        engine.send(1, "My secret code is 4711. Reply with: Noted 4711.", greedy(8))
        ask = Send(turn=1, text="What is my secret code?", sampling=greedy(12))
        engine.post(Open(system="You are a pirate.", messages=[]), ask)
        refused = "The model's chat template refuses this conversation: No pirates."
        seen = engine.until(Failed)
        assert (seen.one(Failed).what, seen.snapshot.n_used) == (refused, 0)
        again = engine.until(Failed)
        assert (again.one(Failed).what, again.all(Text)) == (f"The conversation is not open. {refused}", [])
        opened = engine.open(system="Be kind.")
        assert opened.reused_tokens == 0
        assert "4711" not in engine.send(1, "What is my secret code?", greedy(12)).text
