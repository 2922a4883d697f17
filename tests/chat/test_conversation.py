"""The stored conversation against a plain list, with a store that fails now and then; and how messages stand."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from msgspec import structs

from chatapp.chat.conversation import Conversation
from chatapp.errors import StoreError
from chatapp.presentation import notices
from chatapp.presentation.visibility import TurnVisibility, Visibility
from chatapp.protocol.events import (
    Evicted,
    Foreseen,
    Opened,
    Pinned,
    Recalled,
    Released,
    RolledBack,
    Snapshot,
)
from chatapp.protocol.values import CellRun, Ghost, Message, TurnStats
from chatapp.store import Store
from chatapp.ui.widgets.transcript.message import last_code_block

STATS = TurnStats(
    prompt_tokens=5, reply_tokens=7, reused_tokens=11, processed_tokens=5, evicted_tokens=0, shifts=0, ttft_s=0.2,
    prompt_tok_s=100.0, decode_tok_s=61.0,
)  # fmt: skip


class FlakyStore(Store):
    """A store that refuses to write while `broken`."""

    broken = False

    def _refuse(self) -> None:
        if self.broken:
            raise StoreError("The disk is full.", "Free some space.")

    def add_message(self, *args: Any, **kwargs: Any) -> int:
        self._refuse()
        return super().add_message(*args, **kwargs)

    def append_text(self, *args: Any, **kwargs: Any) -> None:
        self._refuse()
        super().append_text(*args, **kwargs)

    def finish_message(self, *args: Any, **kwargs: Any) -> None:
        self._refuse()
        super().finish_message(*args, **kwargs)

    def set_head(self, *args: Any, **kwargs: Any) -> None:
        self._refuse()
        super().set_head(*args, **kwargs)


class AgainstAList(RuleBasedStateMachine):
    """Whatever is done in whatever order: what is shown, what is stored and a plain list of texts say the same."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.store = FlakyStore.open(Path(self.folder.name, "chat.db"))
        self.conversation = Conversation(self.store, model="m", system=None, settings={})
        self.expected: list[list[str]] = []
        self.thought = ""
        """What was thought before the last reply, which is to be stored with it."""

    def teardown(self) -> None:
        self.store.close()
        self.folder.cleanup()

    @property
    def replying(self) -> bool:
        return self.conversation.reply is not None

    def attempt(self, do: Callable[[], object]) -> bool:
        """Do it; False where the store refused."""
        try:
            do()
        except StoreError:
            assert self.store.broken
            return False
        return True

    @rule(broken=st.booleans())
    def disk(self, broken: bool) -> None:
        self.store.broken = broken

    @precondition(lambda self: not self.replying)
    @rule(text=st.text(min_size=1, max_size=5))
    def ask(self, text: str) -> None:
        if self.attempt(lambda: self.conversation.ask(text)):
            self.expected.append([text])
            self.conversation.begin_reply()
            self.thought = ""
            self.expected[-1].append("")

    @precondition(lambda self: self.replying)
    @rule(text=st.text(max_size=5), reasoning=st.sampled_from(["", "hm"]))
    def grow(self, text: str, reasoning: str) -> None:
        self.conversation.grow(text, reasoning)
        self.thought += reasoning
        self.expected[-1][1] += text

    @rule()
    def flush(self) -> None:
        self.attempt(self.conversation.flush)

    @precondition(lambda self: self.replying)
    @rule(state=st.sampled_from(["done", "stopped", "failed"]))
    def finish(self, state: Any) -> None:
        self.conversation.finish_reply(state, STATS, "end")

    @precondition(lambda self: not self.replying)
    @rule()
    def undo(self) -> None:
        if self.attempt(self.conversation.undo) and self.expected:
            self.expected.pop()

    @precondition(lambda self: not self.replying and self.expected)
    @rule(back=st.booleans())
    def again(self, back: bool) -> None:
        dropped = self.conversation.drop_reply if not back else None
        if dropped is not None:
            if self.attempt(dropped):
                self.conversation.begin_reply()
                self.expected[-1][1] = self.thought = ""
            return
        gone: list[Any] = []
        if self.attempt(lambda: gone.append(self.conversation.drop_reply().reply)):
            self.conversation.begin_reply()
            self.thought = ""
            if not self.attempt(lambda: self.conversation.put_back(gone[0])):
                self.expected[-1][1] = ""

    @invariant()
    def the_same_is_shown_and_once_the_disk_has_room_stored(self) -> None:
        shown = [said.text for said in self.conversation.messages if said is not self.conversation.reply]
        flat = [text for turn in self.expected for text in turn]
        assert shown == (flat[:-1] if self.replying else flat)
        if self.store.broken:
            return
        self.conversation.flush()
        stored = [] if self.conversation.session is None else self.store.path(self.conversation.session.id)
        if self.replying and not flat[-1] and not self.thought:
            flat.pop()
        # SQLite holds no lone surrogates; st.text makes none that a model could not write.
        assert [message.text for message in stored] == flat
        if self.replying and stored and stored[-1].role == "assistant":
            assert stored[-1].reasoning == self.thought
        assert [message.turn for message in stored] == [1 + index // 2 for index in range(len(stored))]


TestAgainstAList = AgainstAList.TestCase
TestAgainstAList.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


def test_stats_come_back_with_the_conversation_and_unknown_ones_are_left_out(tmp_path: Path) -> None:
    """Of a later or an older version: what does not fit is not shown, and ends nothing."""
    with Store.open(tmp_path / "chat.db") as store:
        conversation = Conversation(store, model="m", system="s", settings={"a": 1})
        for kept in (STATS, None):
            conversation.ask("q")
            conversation.begin_reply()
            conversation.grow("a", "b")
            conversation.finish_reply("done", kept, "end")
            conversation.flush()
        assert conversation.session is not None
        odd = store.add_message(
            conversation.session.id, parent_id=conversation.messages[-1].id, turn=3, role="assistant", state="growing"
        )
        store.finish_message(odd, state="done", stats={"tokens": "many"})
        again = Conversation.resumed(store, conversation.session)
        assert [said.stats for said in again.messages] == [None, STATS, None, None, None]
        assert again.messages[1].stop_reason == "end"
        assert again.turn == 3


def test_a_reply_comes_back_with_its_tokens_and_thoughts_and_an_edited_one_without(tmp_path: Path) -> None:
    with Store.open(tmp_path / "chat.db") as store:
        conversation = Conversation(store, model="m", system=None, settings={})
        conversation.ask("q")
        conversation.begin_reply()
        conversation.grow("", "thought")
        conversation.flush()
        conversation.grow("a")
        conversation.finish_reply("done", STATS, "end", tokens=bytes(8), model="digest")
        conversation.flush()
        assert conversation.session is not None
        again = Conversation.resumed(store, conversation.session)
        assert again.as_messages(512) == conversation.as_messages(512)
        asked, reply = again.as_messages(512)
        assert (asked.tokens, asked.model, asked.reasoning) == (b"", "", "")
        assert (reply.text, reply.tokens, reply.model, reply.reasoning) == ("a", bytes(8), "digest", "thought")
        again.back_to(1)
        again.ask("q?")
        again.begin_reply()
        again.grow("a")
        again.finish_reply("stopped", None, "cancelled")
        assert again.as_messages(512)[-1] == Message(turn=1, role="assistant", text="a")


def test_a_reply_that_was_cut_off_in_its_thoughts_is_one(tmp_path: Path) -> None:
    with Store.open(tmp_path / "chat.db") as store:
        conversation = Conversation(store, model="m", system=None, settings={})
        conversation.ask("q")
        conversation.begin_reply()
        conversation.grow("", "thought")
        conversation.finish_reply("failed", None, "error")
        assert conversation.answered == {1}


def test_each_message_stands_as_the_cache_has_it() -> None:
    """Turn 1 has left but for its sinks, 2 wholly, 3 in part; 4 is in the window, 5 is pinned, 6 has not come."""
    runs = [
        CellRun(turn=1, role="user", kind="sink", pos=0, n=4),
        CellRun(turn=3, role="user", kind="recent", pos=4, n=5, lost=9),
        CellRun(turn=3, role="assistant", kind="recent", pos=9, n=5),
        CellRun(turn=4, role="user", kind="recent", pos=14, n=5),
        CellRun(turn=5, role="user", kind="pinned", pos=19, n=5),
    ]
    ghosts = [Ghost(turn=2, tokens=30, whole=True), Ghost(turn=3, tokens=9, whole=False)]
    visibility = TurnVisibility(_snapshot(runs, ghosts))
    assert visibility.of(1, "user") is Visibility.SINK
    assert visibility.of(1, "assistant") is Visibility.EVICTED
    assert visibility.of(2, "user") is Visibility.EVICTED
    assert visibility.of(3, "user") is Visibility.PARTLY
    assert visibility.of(3, "assistant") is Visibility.WINDOW
    assert visibility.of(4, "user") is Visibility.WINDOW
    assert visibility.of(5, "user") is Visibility.PINNED
    assert visibility.of(6, "user") is Visibility.UNKNOWN
    assert TurnVisibility(_snapshot([], [])).of(1, "user") is Visibility.UNKNOWN


def test_turns_between_a_pinned_and_a_recalled_one_have_left() -> None:
    """Turn 1 is pinned, so it is the oldest; 2 left long ago and is no ghost any more; 3 was recalled after 5."""
    runs = [
        CellRun(turn=1, role="user", kind="sink", pos=0, n=4),
        CellRun(turn=1, role="user", kind="pinned", pos=4, n=3),
        CellRun(turn=5, role="user", kind="recent", pos=7, n=5),
        CellRun(turn=3, role="user", kind="recalled", pos=12, n=5),
    ]
    visibility = TurnVisibility(_snapshot(runs, []))
    assert visibility.of(1, "user") is Visibility.PINNED
    assert visibility.of(2, "user") is Visibility.EVICTED
    assert visibility.of(3, "user") is Visibility.RECALLED
    assert visibility.of(5, "user") is Visibility.WINDOW
    assert visibility.of(6, "user") is Visibility.UNKNOWN
    assert visibility.inside == {1, 3, 5}


def test_what_is_done_to_the_window_and_to_branches_is_said_in_plain_words() -> None:
    """With the tokens and the time, and why where nobody asked for it."""
    pinned = Pinned(at_s=0, turn=3, pinned=True, tokens=212, kept_tokens=260)
    assert notices.pinned(pinned) == "Turn 3 is pinned: 212 tokens. In all, 260 tokens are never evicted."
    free = Pinned(at_s=0, turn=3, pinned=False, tokens=212, kept_tokens=48, why="it no longer fits")
    assert notices.pinned(free) == "Turn 3 is no longer pinned: it no longer fits."
    recalled = Recalled(at_s=0, turns=[2, 3], tokens=98, ms=1200)
    assert notices.recalled(recalled) == "Turns 2–3 are back in the window: 98 tokens in 1.2 s."
    released = Released(at_s=0, tokens=1, live_branches=1, why="room is needed")
    assert notices.released(released) == (
        "An inactive branch was dropped from the cache, because room is needed: 1 cell freed. "
        "It is processed again when you return to it."
    )
    rolled = RolledBack(
        at_s=0, tokens=4, to_pos=9, rebuilt=False, from_checkpoint=True, processed_tokens=0, why="undo", ms=8
    )
    assert notices.rolled_back(rolled) == "Rolled back 4 tokens: undo. The rest was restored from a checkpoint in 8 ms."
    opened = Opened(
        at_s=0, n_sink=4, processed_tokens=9, in_window_turns=2, evicted_turns=0, ms=30, why="", reused_tokens=40
    )
    assert notices.opened(opened) == (
        "2 turns of this conversation are in the cache again: 40 tokens still cached, 9 tokens processed in 30 ms."
    )
    assert notices.opened(structs.replace(opened, processed_tokens=0)) is None


def test_what_the_cache_did_is_said_in_plain_words() -> None:
    """One line each, with the counts."""
    evicted = [
        Evicted(
            at_s=0, turn=9, policy="sinks", tokens=tokens, turns=turns, partial_turn=part, removed=[], renumbered=True,
            ms=1, next_decode_ms=1, why="",
        )
        for tokens, turns, part in ((200, [1, 2], None), (12, [3], None), (1, [], 9))
    ]  # fmt: skip
    assert notices.evicted(evicted[:2]) == "Turns 1–3 were evicted: 212 tokens."
    assert notices.evicted(evicted) == "Turns 1–3 and the oldest part of turn 9 were evicted: 213 tokens."
    assert notices.evicted(evicted[2:]) == "The oldest part of turn 9 was evicted: 1 token."
    rolled = RolledBack(
        at_s=0, tokens=40, to_pos=9, rebuilt=False, processed_tokens=0, why="the last turn is undone", ms=1
    )
    assert notices.rolled_back(rolled) == "Rolled back 40 tokens: the last turn is undone."
    opened = Opened(at_s=0, n_sink=4, processed_tokens=400, in_window_turns=3, evicted_turns=2, ms=1200, why="")
    assert notices.opened(opened) == (
        "3 turns of this conversation are in the cache again: 400 tokens processed in 1.2 s. 2 older turns did not fit."
    )
    foreseen = Foreseen(at_s=0, id=1, tokens=40, free=12, leaving=[1], partly=False, seconds=None)
    assert notices.forecast(foreseen) == "40 tokens: evicts turn 1"
    slow = structs.replace(foreseen, leaving=[], free=412, seconds=9.2, reprocessed=1204)
    assert notices.forecast(slow) == "40 tokens in 9.2 s: leaves 372 free, 1,204 tokens processed again"
    assert notices.forecast(structs.replace(slow, seconds=0.2, reprocessed=0)) == "40 tokens: leaves 372 free"
    long = structs.replace(foreseen, partly=True)
    assert notices.forecast(long) == "40 tokens: evicts turn 1 and the oldest part of a turn"
    assert notices.forecast(long, "dense") == "40 tokens: does not fit"
    line = notices.stats(STATS, "cancelled")
    assert line == "61 tok/s · TTFT 200 ms · 7 tok · cached 11 · new 5 · stopped"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("no code", None),
        ("```py\nx = 1\n```\nand\n~~~\ny\n```\n~~~\n", "y\n```"),
        ("````\n```\ninner\n```\n````", "```\ninner\n```"),
        ("```\nnever closed", "never closed"),
        ("```\n```", ""),
    ],
)
def test_the_last_code_block_is_what_is_copied(text: str, code: str | None) -> None:
    """Fences of any length, unclosed ones too."""
    assert last_code_block(text) == code


def _snapshot(runs: list[CellRun], ghosts: list[Ghost]) -> Snapshot:
    return Snapshot(
        at_s=0, runs=runs, ghosts=ghosts, evicted_tokens=0, evicted_turns=0, shifts=0, n_ctx=512, n_ctx_swa=None,
        n_swa=None, n_sink=4, n_used=0, pos_min=None, pos_max=None, mismatch=None, resident_bytes=None, devices=[],
        prompt_tok_s=None, decode_tok_s=None,
    )  # fmt: skip
