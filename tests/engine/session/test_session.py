"""A session in the test's own process, where a test can act between two tokens."""

import math
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import ANY

import pytest
from msgspec import structs

from chatapp.engine.native import llama
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.planning.load_plan import prepare
from chatapp.engine.session.session import Session
from chatapp.engine.template.model_template import template_of
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Snapshot, Spelled, TurnDone
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.engine.inprocess import THREADS
from tests.support.engine.process import Seen, english, greedy


class Countdown:
    """Says "cancelled" when it has been asked `left` times; never, while that is None."""

    def __init__(self) -> None:
        self.left: int | None = None

    def __call__(self) -> bool:
        if self.left is None:
            return False
        self.left -= 1
        return self.left < 0


@contextmanager
def session(path: Path, cache: CacheSettings) -> Generator[tuple[Session, list[AnyEvent], Countdown]]:
    llama.init()
    model = Model(path)
    prepared = prepare(path, cache)
    context = Context(model, prepared.cache, EngineSettings(threads=THREADS))
    events: list[AnyEvent] = []
    cancelled = Countdown()
    try:
        yield (
            Session(
                model,
                context,
                template_of(model, []),
                prepared.cache,
                capability=prepared.capability,
                n_swa=prepared.model.n_swa,
                n_ctx_swa=None,
                emit=events.append,
                cancelled=cancelled,
                devices=list,
            ),
            events,
            cancelled,
        )
    finally:
        context.close()
        model.close()


def last_turn(events: list[AnyEvent]) -> tuple[TurnDone, Snapshot]:
    seen = Seen(events)
    return seen.last(TurnDone), seen.last(Snapshot)


def test_any_token_of_the_cache_is_spelled(starter: Path) -> None:
    """Control tokens by name, words as they were said; nothing where the cache holds nothing."""
    with session(starter, CacheSettings(n_ctx=512)) as (chat, events, _):
        chat.open("Be brief.", [])
        chat.send(1, "My name is Ada.", greedy(3))
        chat.spell(0, 10**6)
        whole = Seen(events).last(Spelled)
        assert len(whole.pieces) == len(whole.tokens) == last_turn(events)[1].n_used
        assert "".join(whole.pieces).startswith(
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nMy name is Ada.<|im_end|>"
        )
        chat.spell(3, 2)
        assert Seen(events).last(Spelled) == structs.replace(
            whole, at_s=ANY, pos=3, tokens=whole.tokens[3:5], pieces=whole.pieces[3:5]
        )
        for pos, n in ((-1, 4), (10**9, 4), (0, 0), (0, -3)):
            chat.spell(pos, n)
            assert Seen(events).last(Spelled).pieces == []


def test_a_stop_is_asked_for_at_every_token(starter: Path) -> None:
    """Once before each chunk of the prompt, then once a token: a reply ends with the very token that follows."""
    count = "Write the numbers from 1 to 500, one a line."
    with session(starter, CacheSettings(n_ctx=512, micro_batch=32)) as (chat, events, cancelled):
        chat.open("Be brief.", [])
        chat.send(1, count, greedy(1))
        chunks = math.ceil(last_turn(events)[0].stats.prompt_tokens / 32)
        for tokens in (1, 2, 7):
            chat.open("Be brief.", [])
            cancelled.left = chunks + tokens - 1
            chat.send(1, count, greedy(100))
            done, snapshot = last_turn(events)
            assert (done.stop_reason, done.stats.reply_tokens) == ("cancelled", tokens)
            assert done.stats.processed_tokens == done.stats.prompt_tokens
            assert snapshot.n_used == done.stats.prompt_tokens + tokens
            assert snapshot.mismatch is None
            cancelled.left = None
        before = snapshot.n_used
        cancelled.left = 3
        chat.send(2, english(200), greedy(100))
        done, snapshot = last_turn(events)
        assert (done.stop_reason, done.stats.reply_tokens, done.stats.processed_tokens) == ("cancelled", 0, 3 * 32)
        assert before <= snapshot.n_used <= before + 3  # the markup that closes the reply may have gone in
        assert snapshot.mismatch is None


@pytest.mark.parametrize("chunks", [1, 2, 3])
def test_a_stop_at_any_chunk_of_the_first_prompt_leaves_a_clean_start(starter: Path, chunks: int) -> None:
    """In the system prompt or in the message: the next message makes the cache that it would have made."""
    system, text = english(40), english(60, 100)
    with session(starter, CacheSettings(n_ctx=512, micro_batch=32)) as (chat, events, cancelled):
        chat.open(system, [])
        cancelled.left = chunks
        chat.send(1, text, greedy(4))
        assert last_turn(events)[0].stop_reason == "cancelled"
        cancelled.left = None
        chat.send(1, text, greedy(4))
        after = last_turn(events)[1].runs
        chat.open(system, [])
        chat.send(1, text, greedy(4))
        assert last_turn(events)[1].runs == after
