"""What a model thinks is told apart from its answer, and ends where it is to: a real engine, and any vocabulary."""

import re
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest
from msgspec import structs

from chatapp.engine.native.llama import Model
from chatapp.engine.session.thoughts import ReplyText, Thinking, ThoughtsEnd
from chatapp.engine.template.fallbacks import CHATML
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import AnswerNow, Cancel, Load, Open, Send, Several, Spell
from chatapp.protocol.events import Replied, Spelled, Text, TurnDone, TurnStarted, Warned
from chatapp.protocol.values import CacheSettings, EngineSettings
from chatapp.thinking.families import FAMILIES
from tests.support.engine.process import Engine, Seen, greedy
from tests.support.fake_engine.engine import FakeEngine
from tests.support.fake_engine.script import Script
from tests.support.templated import with_template

THINK = next(family for family in FAMILIES if family.name == "think")
OPENED = CHATML.replace("assistant\n'", "assistant\n<think>\n'")
SETTINGS = CacheSettings(n_ctx=512, policy="sinks", live_branches=2)


@pytest.fixture(scope="module")
def engine(starter: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """The starter with a template that begins each reply with a thought."""
    folder = tmp_path_factory.mktemp("thoughts")
    with Engine(folder / "engine.log") as engine:
        engine.load(with_template(starter, folder / "thinks.gguf", OPENED), SETTINGS)
        yield engine


def test_a_template_of_ones_own_may_not_know_of_thoughts(starter: Path) -> None:
    with closing(Model(starter, vocab_only=True)) as model:
        assert Thinking.of(model, CHATML) is None
        found = Thinking.of(model, OPENED)
        assert found
        assert b"".join(map(model.piece, found.ending)).decode() == THINK.ending


def reasoning(seen: Seen) -> str:
    return "".join(event.reasoning for event in seen.all(Text))


def cached(engine: Engine) -> str:
    """The words of everything in the cache, special tokens spelled out."""
    engine.post(Spell(pos=0, n=SETTINGS.n_ctx))
    return words("".join(engine.until(Spelled).one(Spelled).pieces))


def words(text: str) -> str:
    """Words and markers with a space between two of them."""
    return " ".join(re.sub(r"<\S+?>", r" \g<0> ", text).split())


def test_a_thought_ends_after_its_budget_and_the_answer_begins(engine: Engine) -> None:
    engine.open()
    budget = structs.replace(greedy(24), think_budget=8)
    seen = engine.send(1, "What is the sea?", budget)
    stats = seen.done.stats
    n_ending = stats.reasoning_tokens - 8
    assert reasoning(seen).strip()
    assert seen.text.strip()
    assert 0 < n_ending < 8
    assert (stats.reply_tokens, sum(event.tokens for event in seen.all(Text))) == (24, 24)
    assert words(f"<think> {reasoning(seen)} </think> {seen.text}") in cached(engine)

    again = engine.regenerate(1, structs.replace(budget, think_budget=0))
    assert reasoning(again) == ""
    assert again.done.stats.reasoning_tokens == n_ending
    assert words(f"<think> </think> {again.text}") in cached(engine)


def test_the_next_message_follows_the_answer(engine: Engine) -> None:
    engine.open()
    first = engine.send(1, "What is the sea?", structs.replace(greedy(14), think_budget=3))
    seen = engine.send(2, "And a lake?", structs.replace(greedy(14), think_budget=3))
    assert words(f"</think>{first.text}<|im_end|><|im_start|>user And a lake?<|im_end|>") in cached(engine)
    assert seen.started.reused_tokens > 0
    assert seen.snapshot.mismatch is None


def test_a_reply_that_ends_while_it_thinks_has_no_answer_and_says_so(engine: Engine) -> None:
    engine.open()
    seen = engine.send(1, "What is the sea?", greedy(6))
    assert (seen.text, seen.done.stop_reason, seen.done.stats.reasoning_tokens) == ("", "length", 6)
    assert reasoning(seen).strip()
    assert "thinking" in seen.one(Warned).text
    assert engine.send(2, "And a lake?", greedy(3)).done.stats.reply_tokens == 3  # turn 1 counts as answered
    assert engine.undo(2).turn == 2


def test_answer_now_ends_the_thought_of_the_reply_in_progress_alone(engine: Engine) -> None:
    engine.open()
    engine.post(AnswerNow())
    engine.post(Send(turn=1, text="What is the sea?", sampling=greedy(300)))
    engine.until(Text, 4)
    engine.post(AnswerNow())
    seen = engine.until(TurnDone)
    assert seen.text.strip()
    assert 4 < seen.done.stats.reasoning_tokens < 300
    engine.post(AnswerNow())
    assert engine.send(2, "And a lake?", greedy(8)).text == ""


def test_a_stop_while_it_thinks_keeps_the_thoughts(engine: Engine) -> None:
    engine.open()
    engine.post(Send(turn=1, text="What is the sea?", sampling=greedy(300)))
    engine.until(TurnStarted)
    engine.until(Text, 3)
    engine.post(Cancel())
    seen = engine.until(TurnDone)
    assert (seen.done.stop_reason, seen.text) == ("cancelled", "")
    assert seen.all(Warned)
    assert seen.done.stats.reasoning_tokens == seen.done.stats.reply_tokens > 0


def test_several_prompts_are_thought_about_one_by_one(engine: Engine) -> None:
    engine.post(Several(system=None, prompts=["What is the sea?", "What is a lake?"],
                        sampling=structs.replace(greedy(16), think_budget=4)))  # fmt: skip
    replies = engine.until(Replied, 2).all(Replied)
    for reply in replies:
        assert reply.reasoning.strip()
        assert reply.text.strip()
        assert "think>" not in reply.reasoning + reply.text
        assert 4 < reply.reasoning_tokens < reply.reply_tokens == 16


class Letters(Model):
    """A vocabulary of bytes, and of two special tokens."""

    def __init__(self) -> None:
        pass

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """See Vocabulary."""
        return bytes([token]) if token < 256 else b""

    def spelling(self, token: int) -> str:
        """See Vocabulary."""
        return ("<think>", "</think>")[token - 256]


def heard(reply: ReplyText, tokens: Sequence[int]) -> tuple[str, str]:
    said = [*(reply.add(token) for token in tokens), reply.end()]
    return "".join(each.text for each in said), "".join(each.reasoning for each in said)


def test_the_markers_count_as_reasoning_and_a_split_character_is_put_together() -> None:
    special = Thinking(THINK, specials=("<think>", "</think>"))
    reply = ReplyText(Letters(), special, ())
    assert heard(reply, [256, *"né".encode(), 257, *"\n\nÿ".encode()]) == ("ÿ", "né")
    assert reply.reasoning_tokens == 1 + 3 + 1 + 2
    reply = ReplyText(Letters(), special, [256])
    assert heard(reply, [*b"a "]) == ("", "a ")
    assert (reply.unclosed, reply.reasoning_tokens) == (True, 2)
    reply = ReplyText(Letters(), special, [256, 257])
    assert heard(reply, [*b"\nyes", 256]) == ("yes", "")
    assert reply.reasoning_tokens == 0
    reply = ReplyText(Letters(), None, [256])
    assert heard(reply, [*b"<think>a", 257]) == ("<think>a", "")


def test_a_thought_is_not_ended_inside_a_character_nor_twice() -> None:
    thinking = Thinking(THINK, ending=(*b"never closes",))
    reply, end = ReplyText(Letters(), thinking, [256]), ThoughtsEnd(thinking, 1, lambda: False)
    assert end.next(reply) is None
    first, second = "é".encode()
    reply.add(first)
    assert end.next(reply) is None
    reply.add(second)
    forced: list[int] = []
    while (token := end.next(reply)) is not None:
        forced.append(token)
        reply.add(token)
    assert bytes(forced) == b"never closes"
    reply.add(ord("x"))
    assert end.next(reply) is None


async def test_the_scripted_engine_thinks_too() -> None:
    engine = FakeEngine(Script(replies=["<think>\nHm. So be it.\n</think>\n\nYes."], thinks=True))
    await engine.start()
    engine.post(Load(path="m.gguf", cache=SETTINGS, engine=EngineSettings()))
    engine.post(Open(system=None, messages=[]))
    engine.post(Send(turn=1, text="May I?", sampling=structs.replace(greedy(99), think_budget=2)))
    seen: list[AnyEvent] = []
    async for event in engine.events():
        seen.append(event)
        if isinstance(event, TurnDone):
            break
    await engine.stop()
    assert reasoning(Seen(seen)) == "Hm."
    assert Seen(seen).text.startswith("So be it.")
