"""Random walks through a conversation, on a tiny model of each kind, held against plain llama.cpp at every step."""

import contextlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native.llama import Model
from chatapp.errors import UserError
from chatapp.presentation.ledger.book import LedgerBook
from chatapp.protocol.events import Opened, TurnDone, TurnStarted
from chatapp.protocol.values import CacheRequest, Message
from tests.support.engine.inprocess import Logits
from tests.support.engine.plain_replay import Cleared, Loaded, Moved, Noted, Removed, Replay, Saved
from tests.support.engine.tiny_session import TinySession, tiny_session
from tests.support.tiny_models import tiny

SAME = 5e-3
"""Largest difference of a logit between two orders of the same sums in float32. A hole in a cache makes it 0.1 or more.
Logits are around 1."""
SAME_GELU = 2e-2
"""llama.cpp looks Gemma's GELU up in a table of f16: there, rounding is a step."""
KINDS = (
    "llama", "llama-yarn", "mixtral", "qwen2vl", "gemma2", "gemma3", "gpt-oss", "window-only", "phi-window", "lfm2",
    "mamba",
)  # fmt: skip
RECURRENT = ("lfm2", "mamba")
"""Nothing can be taken back from them, so the next token cannot be looked at in passing."""
CLOCKS_MS = 2.0
"""An entry has the time of one clock and ends at that of another."""
WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu"]


@dataclass
class Walk:
    """A conversation, what was said in it, the states it could go back to, and its replay."""

    chat: TinySession
    context: Noted
    replay: Replay
    folder: Path
    same: float
    said: list[Message] = field(default_factory=list[Message])
    other: list[Message] = field(default_factory=list[Message])
    pinned: set[int] = field(default_factory=set[int])
    plain: bool = True
    """Nothing left the cache since it was last made from nothing."""
    plain_when_saved: bool = True
    book: LedgerBook = field(default_factory=LedgerBook)

    @property
    def turn(self) -> int:
        return self.said[-1].turn if self.said else 0

    def step(self, action: str, number: int) -> None:
        """One action; a refusal is fine, as long as the cache is what it says."""
        self.chat.events.clear()
        self.book = LedgerBook()
        began = time.perf_counter()
        with contextlib.suppress(UserError, CancelledError):
            getattr(self, action)(number)
        self.check_accounts((time.perf_counter() - began) * 1000)
        self.pinned = {run.turn for run in self.chat.session.kv.ledger.runs if run.kind == "pinned"}

    def check_accounts(self, took_ms: float) -> None:
        """No time is counted twice, and nothing is reused that was not cached."""
        for event in self.chat.events:
            self.book.apply(event)
            match event:
                case TurnStarted() | Opened():
                    assert 0 <= event.reused_tokens <= self.chat.context.n_ctx, event
                case TurnDone(stats=stats):
                    assert stats.stages is not None
                    assert sum(msgspec.structs.astuple(stats.stages)) <= took_ms, event
                    assert min(stats.reused_tokens, stats.processed_tokens, stats.evicted_tokens) >= 0, event
                case _:
                    pass
        assert sum(entry.ms or 0 for entry in self.book.entries) <= took_ms + CLOCKS_MS, list(self.book.entries)

    def _reply(self, text: str, reply: str) -> None:
        done = self.chat.last(TurnDone)
        if done.stats.reply_tokens:
            turn = self.turn + 1
            self.said += [Message(turn=turn, role="user", text=text), Message(turn=turn, role="assistant", text=reply)]

    def send(self, number: int) -> None:
        text = " ".join(WORDS[(number + i) % len(WORDS)] for i in range(1 + number % 40))
        self._reply(text, self.chat.send(self.turn + 1, text, 1 + number % 9))

    def long_reply(self, number: int) -> None:
        self._reply("And then?", self.chat.send(self.turn + 1, "And then?", 40 + number))

    def stop(self, number: int) -> None:
        """Esc, after a few looks at it."""
        looks = iter([*[False] * (number % 12), *[True] * 10_000])
        self.chat.stop = lambda: next(looks)
        text = " ".join(WORDS * (1 + number % 20))
        try:
            self._reply(text, self.chat.send(self.turn + 1, text, 20))
        finally:
            self.chat.stop = lambda: False

    def undo(self, _number: int) -> None:
        self.chat.session.undo(self.turn)
        self.said = self.said[:-2]

    def regenerate(self, number: int) -> None:
        text, turn = self.said[-2].text if self.said else "", self.turn
        self.other = self.said
        reply = self.chat.again(turn, 1 + number % 9, seed=number)
        self.said = self.said[:-2]
        self._reply(text, reply)
        if self.said and self.said[-1].turn == turn:
            assert self.chat.session.kv.ledger.turns

    def branch(self, number: int) -> None:
        """Go on from after an earlier turn; the branch that is left can be gone back to."""
        self.other, self.said = self.said, self.said[: 2 * (number % (len(self.said) // 2 + 1))]
        self.chat.open(self.said, pinned=sorted(self.pinned & {message.turn for message in self.said}))

    def edit(self, number: int) -> None:
        self.branch(max(0, len(self.said) // 2 - 1 - number % 2))
        self.send(number)

    def switch(self, _number: int) -> None:
        self.said, self.other = self.other, self.said
        self.chat.open(self.said, pinned=sorted(self.pinned))

    def pin(self, number: int) -> None:
        self.chat.session.pin(1 + number % max(1, self.turn), number % 3 > 0)

    def recall(self, number: int) -> None:
        self.chat.session.recall([1 + number % max(1, self.turn)])

    def resume(self, _number: int) -> None:
        """Saved, closed, and opened again from disk."""
        path = self.folder / "state"
        self.chat.session.save(path)
        self.chat.events.clear()
        self.chat.session.open("Be brief.", [], None, [])
        self.chat.session.open("Be brief.", list(self.said), path, sorted(self.pinned))

    def check(self, *, look: bool) -> None:
        """The engine's cache is its replay, token for token and logit for logit."""
        kv = self.chat.session.kv
        assert kv.mismatch() is None
        for note in self.context.notes:
            assert self.replay.apply(note) < self.same, note
            if isinstance(note, Saved) and not note.part:
                self.plain_when_saved = self.plain
            if isinstance(note, Cleared) or (isinstance(note, Loaded) and not note.part):
                self.plain = isinstance(note, Cleared) or self.plain_when_saved
            if isinstance(note, Moved) or (isinstance(note, Removed) and note.p1 > 0):
                self.plain = False
        self.context.notes.clear()
        held = self.replay.tokens(self.context.sequence)
        book = {run.pos + i: token for run in kv.ledger.runs for i, token in enumerate(run.tokens)}
        assert book == held
        for sequence, parked in kv.parked.items():
            assert list(self.replay.tokens(sequence).values()) == list(parked.ledger.tokens)
        assert self.replay.n_cells == kv.context.n_ctx - kv.n_free
        if look and book and kv.n_free:
            self._look(kv.ledger.next_pos)

    def _look(self, pos: int) -> None:
        """One more token here and there, and taken back."""
        assert self.context.decode([5], pos) == 0
        assert self.context.remove(pos, -1)
        self.context.notes.clear()
        mine = np.array(self.context.logits(1)[0], dtype=np.float64)
        again = self.replay.decode(self.context.sequence, [5], pos)
        self.replay.remove(self.context.sequence, pos, -1)
        assert np.abs(mine - again).max() < self.same
        if self.plain:
            assert np.abs(mine - self._fresh()).max() < self.same

    def _fresh(self) -> Logits:
        """The same tokens at the same positions, through a new context at once."""
        kv = self.chat.session.kv
        fresh = Replay(self.model, kv.context.n_ctx, 1, 512)
        try:
            held = self.replay.tokens(self.context.sequence)
            return fresh.decode(0, [*held.values(), 5], min(held))
        finally:
            fresh.close()

    @property
    def model(self) -> Model:
        return self.chat.model


ACTIONS = st.tuples(
    st.sampled_from(
        ["send", "send", "send", "long_reply", "stop", "undo", "regenerate", "branch", "edit", "switch", "pin",
         "recall", "resume"]
    ),
    st.integers(0, 60),
)  # fmt: skip


@pytest.mark.parametrize("name", KINDS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(ACTIONS, min_size=4, max_size=14), live=st.sampled_from([None, 1, 3]))
def test_any_walk_leaves_what_plain_calls_leave(
    tmp_path: Path, name: str, steps: Sequence[tuple[str, int]], live: int | None
) -> None:
    """Send, stop, undo, edit, regenerate, pin, branch, recall, resume, and evictions all along the way."""
    cache = CacheRequest(n_ctx=256, micro_batch=32, type_k="f32", type_v="f32", live_branches=live)
    with tiny_session(tiny(name, tmp_path), cache, kind=Noted) as chat:
        context = chat.context
        assert isinstance(context, Noted)
        # Whole states put back take cells of their own, hence four times as many.
        forgets = name in RECURRENT or chat.model.n_swa > 0
        replay = Replay(chat.model, 4 * context.n_ctx, context.n_sequences, 32, forgets=forgets)
        walk = Walk(chat, context, replay, tmp_path, SAME_GELU if name.startswith("gemma") else SAME)
        try:
            for action, number in steps:
                walk.step(action, number)
                walk.check(look=name not in RECURRENT)
        finally:
            replay.close()
