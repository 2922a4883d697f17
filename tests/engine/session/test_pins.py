"""Pinned and recalled turns, live branches and checkpoints, each seen from the events that a person gets."""

import doctest
from collections.abc import Sequence
from pathlib import Path

import pytest

from chatapp.engine.interrupts import CancelledError
from chatapp.engine.kv import checkpoints, prefill_plan
from chatapp.engine.session import reply_start, turn_tokens
from chatapp.engine.session import transcript as transcript_module
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.template import frame, inert
from chatapp.errors import UserError
from chatapp.protocol.events import (
    Branched,
    Evicted,
    Pinned,
    Recalled,
    Released,
    RolledBack,
    TurnDone,
)
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.tiny_session import TinySession, tiny_session
from tests.support.tiny_models import tiny

LONG = 260
TEXT = "Say alpha beta gamma delta and go on with it."


def cache(n_ctx: int = 256, live: int | None = None, checkpoint_mib: int = 64) -> CacheRequest:
    return CacheRequest(n_ctx=n_ctx, micro_batch=32, live_branches=live, checkpoint_mib=checkpoint_mib)


def fill(chat: TinySession, turns: Sequence[int], tokens: int = 4) -> list[Message]:
    """These turns, one after the other, as they are stored."""
    said: list[Message] = []
    for turn in turns:
        reply = chat.send(turn, f"{TEXT} {turn}", tokens)
        said += [
            Message(turn=turn, role="user", text=f"{TEXT} {turn}"),
            Message(turn=turn, role="assistant", text=reply),
        ]
    return said


def reply_at_length(chat: TinySession, turn: int, *, again: bool = False) -> None:
    """A reply longer than the cells that a pruned window has to spare: noise ends where it likes, so try."""
    if not again:
        chat.send(turn, TEXT, LONG)
    seeds = iter(range(2, 50))
    while chat.last(TurnDone).stats.reply_tokens < LONG:
        chat.again(turn, LONG, seed=next(seeds))


@pytest.mark.parametrize("name", ["llama", "gpt-oss", "gemma3", "mamba"])
def test_a_pinned_turn_stays_while_all_around_it_leave(tmp_path: Path, name: str) -> None:
    """Under sinks, slide, a pruned window and rebuild alike; unpinned, it leaves as the oldest."""
    with tiny_session(tiny(name, tmp_path), cache(512)) as chat:
        fill(chat, [1, 2])
        chat.session.pin(1, True)
        assert (chat.last(Pinned).turn, chat.last(Pinned).pinned) == (1, True)
        assert chat.last(Pinned).kept_tokens == chat.last(Pinned).tokens + chat.shown.n_sink
        fill(chat, range(3, 16))
        kinds = {run.turn: run.kind for run in chat.shown.runs}
        assert (kinds[0], kinds[1], kinds[15]) == ("sink", "pinned", "recent")
        assert 2 not in kinds
        chat.session.pin(1, False)
        fill(chat, range(16, 28))
        assert 1 not in {run.turn for run in chat.shown.runs}


def test_a_pin_that_leaves_less_than_a_quarter_is_refused_with_the_sum(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), cache()) as chat:
        fill(chat, [1, 2, 3])
        chat.session.pin(1, True)
        chat.session.pin(2, True)
        kept, others = chat.last(Pinned).kept_tokens, chat.last(Pinned).kept_tokens - chat.shown.n_sink
        tokens = sum(run.n for run in chat.shown.runs if run.turn == 3)
        with pytest.raises(UserError) as refused:
            chat.session.pin(3, True)
        assert f"{others} pinned tokens, {kept + tokens} of 256 cells" in refused.value.what
        assert "less than a quarter (64)" in refused.value.what
        assert {run.turn for run in chat.shown.runs if run.kind == "pinned"} == {1, 2}


def test_what_cannot_be_pinned_is_refused_and_says_what_to_do(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), cache()) as chat:
        fill(chat, range(1, 7))
        assert chat.shown.ghosts
        with pytest.raises(UserError, match="Turn 1 is not in the window") as refused:
            chat.session.pin(1, True)
        assert refused.value.todo == "Recall it first: /recall 1."
        for turn in (0, 7, -3):
            with pytest.raises(UserError, match="no turn"):
                chat.session.pin(turn, True)


def test_pins_are_kept_when_a_conversation_is_opened_again(tmp_path: Path) -> None:
    """Also where later turns alone would fill the window; pins that would take too much are given up, and named."""
    with tiny_session(tiny("llama", tmp_path), cache()) as chat:
        said = fill(chat, range(1, 9))
        chat.open([])
        opened = chat.open(said, pinned=[2])
        assert opened.processed_tokens > 0
        kinds = {run.turn: run.kind for run in chat.shown.runs}
        assert (kinds[2], kinds[8], 3 in kinds) == ("pinned", "recent", False)
        chat.open([])
        chat.open(said, pinned=[1, 2, 3, 4, 5])
        given_up = [event.turn for event in chat.all(Pinned) if not event.pinned]
        held = {run.turn for run in chat.shown.runs if run.kind == "pinned"}
        assert sorted([*held, *(turn or 0 for turn in given_up)]) == [1, 2, 3, 4, 5]
        assert given_up
        assert chat.shown.n_sink + sum(run.n for run in chat.shown.runs if run.kind == "pinned") <= 192


@pytest.mark.parametrize("name", ["llama", "gpt-oss", "gemma3", "lfm2"])
def test_an_evicted_turn_comes_back_marked_behind_everything_else(tmp_path: Path, name: str) -> None:
    with tiny_session(tiny(name, tmp_path), cache(512)) as chat:
        fill(chat, range(1, 14))
        assert 1 in {ghost.turn for ghost in chat.shown.ghosts}
        chat.session.recall([1])
        recalled = chat.last(Recalled)
        assert recalled.turns == [1]
        assert recalled.tokens == sum(run.n for run in chat.shown.runs if run.kind == "recalled")
        assert [run.turn for run in chat.shown.runs[-2:]] == [1, 1]
        assert 1 not in {ghost.turn for ghost in chat.shown.ghosts}
        fill(chat, [14])
        with pytest.raises(UserError, match="in the window already"):
            chat.session.recall([1])
        fill(chat, range(15, 30))
        assert 1 in {ghost.turn for ghost in chat.shown.ghosts}


def test_a_recall_that_does_not_fit_is_refused_with_the_numbers(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), cache()) as chat:
        fill(chat, range(1, 13))
        with pytest.raises(
            UserError, match=r"These turns take \d+ tokens, and \d+ fit: \d+ of 256 cells hold sinks and pinned turns"
        ):
            chat.session.recall([1, 2, 3, 4, 5])
        for turns in ([99], [0], [-1]):
            with pytest.raises(UserError, match="There is no turn"):
                chat.session.recall(turns)


def test_a_turn_of_long_ago_is_recalled_and_undone_to_in_its_own_words(tmp_path: Path) -> None:
    """However far back: nothing of what was said is forgotten with the cells that held it."""
    with tiny_session(tiny("llama", tmp_path), cache(512)) as chat:
        fill(chat, range(1, 300))
        chat.session.recall([1])
        assert chat.last(Recalled).turns == [1]
        for turn in range(299, 10, -1):
            chat.session.undo(turn)
        assert chat.send(11, "And now?") is not None
        assert chat.shown.mismatch is None


def said(turn: int, text: str) -> Message:
    return Message(turn=turn, role="assistant", text=text)


def test_branches_of_a_conversation_are_told_apart_by_their_words() -> None:
    long = BranchTranscript.of(None, [])
    for turn in range(1, 2000):
        long = long.with_turn("word " * 50, said(turn, "reply " * 50))
    assert (long.n_turns, long.last, long.turns[:3]) == (1999, 1999, (1, 2, 3))
    assert long.common_turns(long.first_turns(700).with_turn("else", said(701, "where"))) == 700
    assert long.common_turns(long.first_turns(700).with_turn("word " * 50, said(701, "other"))) == 700
    assert long.common_turns(long) == 1999


def test_replies_without_words_are_told_apart_by_their_tokens() -> None:
    """Both were stopped while the model thought. Where the tokens of one are not known, the words decide."""
    thought = [Message(turn=1, role="assistant", text="", tokens=tokens, model="m") for tokens in (b"a", b"b", b"")]
    one, other, unknown = (BranchTranscript().with_turn("Why?", each) for each in thought)
    assert [one.common_turns(each) for each in (one, other, unknown)] == [1, 0, 1]


def test_the_examples_in_the_documentation_hold() -> None:
    for module in (transcript_module, checkpoints, prefill_plan, reply_start, turn_tokens, frame, inert):
        failed, tried = doctest.testmod(module)
        assert tried > 0
        assert failed == 0


def test_a_recall_that_is_stopped_leaves_the_turn_gone(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), cache(512)) as chat:
        chat.send(1, "alpha " * 40)
        fill(chat, range(2, 14))
        gone = [ghost for ghost in chat.shown.ghosts if ghost.turn == 1]
        assert gone
        looks = iter([False, False, *[True] * 1000])
        chat.stop = lambda: next(looks)
        chat.events.clear()
        with pytest.raises(CancelledError):
            chat.session.recall([1])
        assert chat.shown.n_used == chat.session.kv.ledger.n_tokens
        chat.stop = lambda: False
        fill(chat, [14])
        assert [ghost for ghost in chat.shown.ghosts if ghost.turn == 1] == gone
        assert chat.shown.mismatch is None
        chat.session.recall([1])
        assert chat.last(Recalled).turns == [1]


def test_two_replies_to_one_message_share_what_comes_before_them(tmp_path: Path) -> None:
    """Going back to the first one processes nothing; the prompt's cells are held once."""
    with tiny_session(tiny("llama", tmp_path), cache(512)) as chat:
        first = fill(chat, [1, 2], tokens=12)
        chat.again(2, tokens=12, seed=5)
        branched = chat.last(Branched)
        assert branched.live_branches == 2
        used, elsewhere = chat.shown.n_used, chat.shown.n_elsewhere
        assert elsewhere == 13  # the twelve tokens of the first reply, and the one that they were drawn from
        opened = chat.open(first)
        assert (opened.processed_tokens, opened.why) == (0, "it was in the cache already")
        assert (chat.shown.n_used, chat.shown.n_elsewhere) == (opened.reused_tokens, elsewhere)
        assert used + elsewhere < 2 * used - branched.shared_tokens + 2


def test_a_branch_from_an_earlier_turn_reuses_its_beginning(tmp_path: Path) -> None:
    with tiny_session(tiny("llama", tmp_path), cache(512)) as chat:
        said = fill(chat, [1, 2, 3])
        opened = chat.open(said[:4])
        assert (opened.processed_tokens, opened.in_window_turns) == (0, 2)
        assert chat.last(RolledBack).why == "back to turn 2; the other branch stays in the cache"
        other = [*said[:4], *fill(chat, [3])]
        assert chat.open(said).processed_tokens == 0
        assert chat.open(other).processed_tokens == 0


def test_parked_branches_leave_before_a_turn_does(tmp_path: Path) -> None:
    """Nothing moves while another branch holds the same cells, and the branch in use never pays for one that is not."""
    with tiny_session(tiny("llama", tmp_path), cache(256, live=3)) as chat:
        said = fill(chat, [1, 2])
        chat.open(said[:2])
        chat.send(2, "Something else.")
        assert chat.shown.live_branches == 2
        order: list[type[object]] = []
        turn = 3
        while not chat.all(Evicted):
            fill(chat, [turn])
            order += [type(event) for event in chat.events if isinstance(event, Released | Evicted)]
            turn += 1
        assert order[:2] == [Released, Evicted]
        assert chat.shown.live_branches == 1
        assert chat.open(said).processed_tokens > 0  # made again on demand


@pytest.mark.parametrize("name", ["gemma2", "gemma3", "lfm2", "mamba"])
def test_going_back_in_a_hybrid_costs_no_rebuild(tmp_path: Path, name: str) -> None:
    """A long reply pushes the window's cells out, a recurrent state cannot be cut: a checkpoint brings them back."""
    with tiny_session(tiny(name, tmp_path), cache(1024)) as chat:
        fill(chat, [1])
        reply_at_length(chat, 2)
        chat.again(2, 4)
        back = chat.last(RolledBack)
        assert (back.rebuilt, back.from_checkpoint, back.processed_tokens) == (False, True, 0)
        reply_at_length(chat, 2, again=True)
        chat.session.undo(2)
        back = chat.last(RolledBack)
        assert (back.rebuilt, back.from_checkpoint, back.processed_tokens) == (False, True, 0)
        assert chat.shown.checkpoint_bytes > 0


def test_without_memory_for_checkpoints_the_cache_is_made_again_and_says_so(tmp_path: Path) -> None:
    with tiny_session(tiny("gemma3", tmp_path), cache(1024, checkpoint_mib=0)) as chat:
        fill(chat, [1])
        reply_at_length(chat, 2)
        chat.session.undo(2)
        back = chat.last(RolledBack)
        assert (back.rebuilt, back.from_checkpoint) == (True, False)
        assert "gone, so the cache was rebuilt" in back.why


def test_a_rebuild_that_is_stopped_is_finished_before_the_next_message(tmp_path: Path) -> None:
    """Esc during a long rebuild comes at once; what was half made is never taken for whole."""
    with tiny_session(tiny("gemma3", tmp_path), cache(1024, checkpoint_mib=0)) as chat:
        fill(chat, range(1, 8))
        before = chat.session.kv.ledger.tokens
        reply_at_length(chat, 8)
        looks = iter([False, False, *[True] * 1000])
        chat.stop = lambda: next(looks)
        chat.events.clear()
        chat.session.undo(8)
        assert "the rebuild was stopped, and is finished before the next message" in chat.last(RolledBack).why
        assert chat.shown.n_used < 100 < len(before)
        chat.stop = lambda: False
        chat.send(8, "And now?", 6)
        assert chat.last(TurnDone).stats.reused_tokens >= len(before)
        assert chat.session.kv.ledger.tokens[: len(before)] == before
        assert chat.shown.mismatch is None
