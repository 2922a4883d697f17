"""What the policies promise, for any conversation in any window."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.policy import POLICIES, EvictionPlan, apply, contiguous, make_room


@dataclass(frozen=True)
class Turn:
    """Sizes in tokens: markup and text of the message, markup and text of the reply."""

    opening: int
    user: int
    reply_opening: int
    reply: int
    pinned: bool


@dataclass(frozen=True)
class Chat:
    """A conversation and the window that it runs through, in chunks as a prompt does."""

    n_ctx: int
    share: float
    chunk: int
    n_sink: int
    keep_recent: int
    system: int
    turns: list[Turn]


@st.composite
def chats(draw: st.DrawFn) -> Chat:
    n_ctx = draw(st.sampled_from([16, 32, 64]))
    markup, pinned = st.integers(0, 3), st.sampled_from([False] * 7 + [True])
    turn = st.builds(Turn, markup, st.integers(1, 60), markup, st.integers(0, 40), pinned)
    return Chat(
        n_ctx=n_ctx,
        share=draw(st.sampled_from([0.05, 0.25, 0.5, 0.75])),
        chunk=draw(st.integers(1, n_ctx // 8)),
        n_sink=draw(st.integers(0, n_ctx // 2)),
        keep_recent=draw(st.sampled_from([0, 0, n_ctx // 2])),
        system=draw(st.integers(0, n_ctx // 2)),
        turns=draw(st.lists(turn, min_size=1, max_size=8)),
    )


MAX_POS = 100
"""Positions that `slide` may use: above every window here, and soon reached."""


class Replay:
    """A conversation streamed through a window as the engine does it; every plan is checked."""

    def __init__(self, chat: Chat, policy: str) -> None:
        self.chat, self.policy = chat, policy
        self.book = Ledger()
        self.n_seen = 0
        self.full: EvictionPlan | None = None

    def run(self) -> None:
        chat = self.chat
        if self.policy == "window":
            self.add(0, "system", chat.system, CellKind.RECENT, 0)
        else:
            self.add(0, "system", chat.system, CellKind.SINK, 0)
        for number, turn in enumerate(chat.turns, 1):
            kind = CellKind.PINNED if turn.pinned else CellKind.RECENT
            self.add(number, "user", turn.opening + turn.user, kind, turn.opening)
            self.add(number, "assistant", turn.reply_opening, kind, turn.reply_opening)
            for _ in range(turn.reply):
                self.add(number, "assistant", 1, kind, 0)

    def add(self, turn: int, role: str, count: int, kind: CellKind, opening: int) -> None:
        """Append `count` new tokens in chunks, making room before each."""
        chat = self.chat
        for at in range(0, count, chat.chunk):
            if self.full is not None:
                return
            tokens = tuple(range(self.n_seen, self.n_seen + min(chat.chunk, count - at)))
            plan = make_room(
                self.book,
                policy=self.policy,
                need=len(tokens),
                n_ctx=chat.n_ctx,
                share=chat.share,
                turn=turn,
                keep_recent=chat.keep_recent,
                max_pos=MAX_POS,
            )
            self.check(plan, len(tokens), turn)
            if plan.full:
                self.full = plan
                return
            self.book = apply(self.book, plan)
            left = max(0, opening - at)
            if kind is CellKind.RECENT and self.policy != "window":
                self.book = self.book.append_sinks_first(turn, role, tokens, n_sink=chat.n_sink, opening=left)
            else:
                self.book = self.book.append(turn, role, tokens, kind=kind, opening=left)
            self.n_seen += len(tokens)
            assert self.book.n_tokens <= chat.n_ctx
            assert self.book.next_pos <= MAX_POS if self.policy == "slide" else contiguous(self.book)
            assert self.book.n_tokens + self.book.evicted_tokens == self.n_seen

    def check(self, plan: EvictionPlan, need: int, turn: int) -> None:
        book, chat = self.book, self.chat
        at_limit = self.policy == "slide" and book.next_pos + need > MAX_POS
        if book.n_tokens + need <= chat.n_ctx and not at_limit:
            assert plan == EvictionPlan()
            return
        if plan.full:
            assert plan.steps == ()
            assert room(book, self.policy, turn) < book.n_tokens + need - chat.n_ctx
            return
        after = apply(book, plan)
        at = {run.pos + i: token for run in book.runs for i, token in enumerate(run.tokens)}
        gone = {token for p0, p1 in plan.removed for pos, token in at.items() if p0 <= pos < p1}
        assert after.tokens == tuple(token for token in book.tokens if token not in gone)
        assert plan.tokens == len(gone) == book.n_tokens - after.n_tokens
        assert after.n_tokens + need <= chat.n_ctx
        assert plan.renumbers == (self.policy in ("sinks", "window"))
        assert plan.reprocesses == (self.policy == "rebuild" or at_limit)
        if self.policy == "slide" and not at_limit:
            assert all(at[run.pos + i] == token for run in after.runs for i, token in enumerate(run.tokens))
        if self.policy == "window":
            assert plan.removed == ((0, plan.tokens),)
        elif plan.removed:
            self.check_kept(plan, after, gone, turn, max(0, book.n_tokens + need - chat.n_ctx))
        else:
            assert at_limit

    def check_kept(self, plan: EvictionPlan, after: Ledger, gone: set[int], turn: int, short: int) -> None:
        """What every policy but `window` keeps."""
        book, chat = self.book, self.chat
        sinks = [run for run in book.runs if run.kind is CellKind.SINK]
        assert [run for run in after.runs if run.kind is CellKind.SINK] == sinks
        assert not any(set(run.tokens) & gone for run in book.runs if not run.evictable)
        # Whole turns leave, oldest first, and never the one in progress.
        old = [t for t in book.turns if t != turn and any(run.evictable for run in book.of_turn(t))]
        assert list(plan.turns) == old[: len(plan.turns)]
        for number in old:
            evictable = {token for run in book.of_turn(number) if run.evictable for token in run.tokens}
            if number in plan.turns:
                assert evictable <= gone
            elif number == plan.partial_turn:  # one that is long, or has lost some: its oldest, and no more
                runs = [run for run in book.of_turn(number) if run.evictable]
                assert 2 * len(evictable) > chat.n_ctx - book.n_sink or any(run.lost for run in runs)
                assert 0 < len(evictable & gone) < len(evictable)
                assert max(evictable & gone) < max(evictable)
                assert number == old[len(plan.turns)]
            else:
                assert not evictable & gone
        # The turn in progress is touched last, and keeps its openings and its newest token.
        torn = {token for run in book.of_turn(turn) for token in run.tokens} & gone
        assert plan.partial_turn == turn if torn else plan.partial_turn in (None, *old[len(plan.turns) :][:1])
        if torn:
            assert list(plan.turns) == old
            for run in book.of_turn(turn):
                assert not set(run.tokens[: run.opening]) & torn
            assert book.tokens[-1] not in torn or next(book.of_turn(turn)).turn != book.runs[-1].turn
        behind = book.next_pos - plan.removed[-1][1]
        if behind < chat.keep_recent:
            last = [t for run in book.of_turn(plan.turns[-1]) for t in run.tokens] if plan.turns else []
            assert plan.tokens == short or (not torn and plan.tokens - len(set(last) & gone) < short)
        elif plan.tokens < int((chat.n_ctx - book.n_sink) * chat.share) and plan.partial_turn in old:
            assert behind == chat.keep_recent or any(run.opening for run in book.of_turn(plan.partial_turn or 0))
        elif plan.tokens < int((chat.n_ctx - book.n_sink) * chat.share) and not torn:
            # Less than a batch leaves only where no other whole turn may.
            rest = old[len(plan.turns) :]
            end = [run.end for run in book.of_turn(rest[0]) if run.evictable][-1] if rest else 0
            assert not rest or book.next_pos - end < chat.keep_recent


def room(book: Ledger, policy: str, turn: int) -> int:
    """Cells that a policy may free at the very most."""
    if policy == "dense":
        return 0
    if policy == "window":
        return book.n_tokens
    evictable = [run for run in book.runs if run.evictable]
    current = [run for run in evictable if run.turn == turn]
    spared = sum(run.opening for run in current)
    if current and current[-1].opening < len(current[-1].tokens):
        spared += 1
    return sum(len(run.tokens) for run in evictable) - spared


@pytest.mark.parametrize("policy", POLICIES)
@given(chat=chats())
def test_any_conversation_stays_within_any_window(policy: str, chat: Chat) -> None:
    """Occupancy, sinks, order, openings, positions and counts: see `Replay.check`."""
    Replay(chat, policy).run()


@given(chats())
def test_a_window_without_pins_is_never_full(chat: Chat) -> None:
    """With room beside the sinks and what a turn must keep, `sinks` goes on for ever."""
    turns = [Turn(t.opening, t.user, t.reply_opening, t.reply, pinned=False) for t in chat.turns]
    roomy = Chat(128, chat.share, chat.chunk, chat.n_sink, chat.keep_recent, chat.system, turns)
    replay = Replay(roomy, "sinks")
    replay.run()
    assert replay.full is None


def test_dense_lets_nothing_leave_and_says_why() -> None:
    book = Ledger().append(1, "user", tuple(range(16)))
    plan = make_room(book, policy="dense", need=1, n_ctx=16, share=0.25, turn=1)
    assert plan.steps == ()
    assert plan.full == "the window of 16 tokens is full, and the policy `dense` evicts nothing"


def test_a_window_of_sinks_and_pins_says_what_holds_it() -> None:
    book = Ledger().append(0, "system", tuple(range(8)), kind=CellKind.SINK)
    book = book.append(1, "user", tuple(range(6)), kind=CellKind.PINNED).append(2, "user", (1, 2))
    plan = make_room(book, policy="sinks", need=4, n_ctx=16, share=0.25, turn=3)
    assert plan.full == "4 more cells are needed, 2 can be freed, and 14 hold sinks or pinned turns"


def test_one_eviction_frees_a_share_so_that_the_next_is_far() -> None:
    """Each eviction costs a rotation of the whole cache: a reply of 1,000 tokens must not cause hundreds."""
    book = (
        Ledger().append(0, "system", (1, 2, 3, 4), kind=CellKind.SINK).append(1, "user", tuple(range(100)), opening=3)
    )
    evictions = 0
    for _ in range(1000):
        plan = make_room(book, policy="sinks", need=1, n_ctx=256, share=0.25, turn=1)
        evictions += bool(plan.steps)
        book = apply(book, plan).append(1, "assistant", (7,))
    assert 1000 - 152 - 63 <= evictions * 63 <= 1000 - 152 + 63


def test_a_torn_turn_and_what_left_wholly_are_told_apart() -> None:
    book = Ledger().append(0, "system", (1, 2, 3, 4), kind=CellKind.SINK)
    book = book.append(1, "user", (5,) * 4).append(1, "assistant", (6,) * 4).append(2, "user", (7,) * 20, opening=2)
    plan = make_room(book, policy="sinks", need=12, n_ctx=32, share=0.05, turn=2)
    assert (plan.turns, plan.partial_turn, plan.removed) == ((1,), 2, ((4, 12), (14, 18)))
    after = apply(book, plan)
    assert [(run.turn, run.pos, len(run.tokens), run.lost) for run in after.runs] == [(0, 0, 4, 0), (2, 4, 16, 4)]
    assert [(gone.turn, gone.tokens) for gone in after.gone] == [(1, 8), (2, 4)]


def test_a_long_document_does_not_leave_whole_for_a_short_question() -> None:
    """Its oldest tokens leave, a batch at a time, and its opening stays, until too little is left."""
    book = Ledger().append(0, "system", (1, 2, 3, 4), kind=CellKind.SINK).append(1, "user", (5,) * 100, opening=3)
    left: list[int] = []
    for turn in range(2, 12):
        plan = make_room(book, policy="sinks", need=24, n_ctx=128, share=0.125, turn=turn)
        left.append(plan.tokens)
        assert (plan.partial_turn == 1) == bool(plan.steps and 1 not in plan.turns)
        book = apply(book, plan).append(turn, "user", (turn,) * 24, opening=3)
        if 1 in plan.turns:
            break
        assert next(book.of_turn(1)).opening == 3
    assert left == [0, 24, 24, 24, 24, 28]


@pytest.mark.parametrize(("size", "turns", "partial"), [(62, (1,), None), (63, (), 1)])
def test_a_turn_of_at_most_half_of_the_window_leaves_whole(
    size: int, turns: tuple[int, ...], partial: int | None
) -> None:
    book = Ledger().append(0, "system", (1, 2, 3, 4), kind=CellKind.SINK)
    book = book.append(1, "user", (5,) * size).append(2, "user", (6,) * (124 - size))
    plan = make_room(book, policy="sinks", need=1, n_ctx=128, share=0.125, turn=3)
    assert (plan.turns, plan.partial_turn) == (turns, partial)
