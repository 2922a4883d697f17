"""Several prompts in one batch: each gets the reply that it would get alone."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from chatapp.engine.native.llama import BatchEntry, Context
from chatapp.errors import UserError
from chatapp.protocol.events import Replied, SeveralDone, Text, TurnDone
from chatapp.protocol.values import CacheRequest
from tests.support.engine.tiny_session import TinySession, sampling, tiny_session
from tests.support.tiny_models import tiny

PROMPTS = ["One word.", "Alpha beta gamma delta epsilon.", "What is it?", "Go on and on and on. " * 12, "And then?"]


def cache(live: int, n_ctx: int = 1024) -> CacheRequest:
    return CacheRequest(n_ctx=n_ctx, micro_batch=32, type_k="f32", type_v="f32", live_branches=live)


def replies(chat: TinySession, prompts: list[str], tokens: int = 6) -> dict[int, Replied]:
    chat.events.clear()
    chat.session.several("Be brief.", prompts, sampling(tokens, seed=7))
    assert chat.last(SeveralDone).shared_tokens > 0
    assert [event.mismatch for event in chat.all(Replied)] == [None] * len(prompts)
    return {event.number: event for event in chat.all(Replied)}


@pytest.mark.parametrize("name", ["llama", "gemma3", "gpt-oss", "mixtral", "mamba", "lfm2"])
def test_prompts_side_by_side_get_the_replies_they_get_alone(tmp_path: Path, name: str) -> None:
    """Five prompts in three sequences: one that saw another, or a stale cell of the one before, would say else."""
    with tiny_session(tiny(name, tmp_path), cache(3)) as chat:
        together = replies(chat, PROMPTS)
        assert sorted(together) == [0, 1, 2, 3, 4]
    with tiny_session(tiny(name, tmp_path), cache(1)) as chat:
        for number, prompt in enumerate(PROMPTS):
            chat.open([])
            chat.events.clear()
            chat.session.send(1, prompt, sampling(6, seed=7 + number))
            alone = "".join(event.text for event in chat.all(Text))
            done = chat.last(TurnDone)
            assert (together[number].text, together[number].reply_tokens) == (alone, done.stats.reply_tokens)


class Batches(Context):
    """The engine's context, with a note of which sequences each batch was of."""

    noted: ClassVar[list[list[int]]] = []

    def decode_entries(self, entries: Sequence[BatchEntry]) -> int:
        self.noted.append([entry.sequence for entry in entries])
        return super().decode_entries(entries)


def test_the_system_prompt_is_processed_once_and_shared(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), cache(3), kind=Batches) as chat:
        Batches.noted.clear()
        together = replies(chat, PROMPTS[:3])
    shared = chat.last(SeveralDone).shared_tokens
    cut_short = sum(each.stop_reason == "length" for each in together.values())  # their last token is not processed
    own = sum(each.prompt_tokens + each.reply_tokens for each in together.values()) - cut_short
    assert sum(map(len, Batches.noted)) == shared + own
    assert max(len(set(batch)) for batch in Batches.noted) == 3


def test_a_prompt_that_outgrows_its_share_makes_room_in_its_own_sequence(tmp_path: Path) -> None:
    """Nothing ends at a limit here either, and the neighbours, who share the system prompt's cells, notice nothing."""
    with tiny_session(tiny("llama", tmp_path), cache(3, n_ctx=512)) as chat:
        together = replies(chat, [PROMPTS[0], "Alpha beta gamma. " * 30, PROMPTS[1]])
        assert [together[i].evicted_tokens > 0 for i in range(3)] == [False, True, False]
        alone = replies(chat, [PROMPTS[0], PROMPTS[1]])
        assert together[0].text == alone[0].text
        assert chat.context.positions is None


class Losing(Context):
    """A context that loses the first cell of its second sequence after the third batch that has tokens of it."""

    seen = 0

    def decode_entries(self, entries: Sequence[BatchEntry]) -> int:
        status = super().decode_entries(entries)
        mine = [entry for entry in entries if entry.sequence == 1]
        self.seen += bool(mine)
        if mine and self.seen == 3:
            self.use(1)
            self.remove(0, 1)
        return status


def test_a_prompt_whose_cells_are_not_what_its_ledger_says_is_told(tmp_path: Path) -> None:
    """Each sequence is held against llama.cpp after each step; its neighbours are as they should be."""
    with tiny_session(tiny("llama", tmp_path), cache(3), kind=Losing) as chat:
        chat.session.several("Be brief.", PROMPTS[:3], sampling(6, seed=7))
        told = {event.number: event.mismatch for event in chat.all(Replied)}
    assert [told[0], told[2]] == [None, None]
    assert told[1] is not None
    assert "llama.cpp at" in told[1]


def test_a_system_prompt_that_leaves_no_share_is_refused(tmp_path: Path) -> None:
    with (
        tiny_session(tiny("llama", tmp_path), cache(4, n_ctx=256)) as chat,
        pytest.raises(UserError, match="The system prompt takes"),
    ):
        chat.session.several("Be brief. " * 40, PROMPTS, sampling(4))
