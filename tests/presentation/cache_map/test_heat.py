"""The heat is that of the map's own tokens, or none: equal to a slow twin that follows every single token."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache.ledger import CellKind, Ledger
from chatapp.cache.policy import apply, make_room
from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group
from chatapp.presentation.cache_map.heat import TOP_LEVEL, HeatSpan, Hottest, PreparedSample, level, place_now
from chatapp.protocol.attention_bytes import weight
from chatapp.protocol.values import CellRun, Sight
from tests.support.presentation.cache_events import runs_of, tokens_of
from tests.support.presentation.inspector_events import conversation
from tests.support.presentation.looks import in_order, look, sight

approx: Any = pytest.approx  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

N_CTX = 64


class Growing:
    """A conversation in a small cache under the real policy."""

    def __init__(self, policy: str) -> None:
        self.policy = policy
        self.ledger = Ledger()
        self._said = 0

    def say(self, turn: int, role: str, n: int, kind: CellKind | None = None) -> None:
        """`n` new tokens, after room was made for them."""
        for _ in range(n):
            plan = make_room(self.ledger, policy=self.policy, need=1, n_ctx=N_CTX, share=0.2, turn=turn)
            self.ledger = apply(self.ledger, plan)
            self._said += 1
            self.ledger = self.ledger.append_sinks_first(turn, role, (self._said,), n_sink=4, kind=kind)


@st.composite
def grown(draw: st.DrawFn) -> tuple[Ledger, Ledger]:
    """The cache when a token was looked into, and later: turns came, left whole or in part, were pinned."""
    history = Growing(draw(st.sampled_from(["sinks", "slide", "window"])))
    turns = draw(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=8))
    looked_at = draw(st.integers(0, len(turns) - 1))
    then = history.ledger
    for index, (asked, answered) in enumerate(turns):
        history.say(index + 1, "user", asked)
        history.say(index + 1, "assistant", answered)
        if draw(st.integers(0, 5)) == 0 and history.ledger.n_pinned == 0 and answered < 10:
            history.ledger = history.ledger.pin(index + 1)
        if index == looked_at:
            then = history.ledger
    return then, history.ledger


def spans(then: Sequence[CellRun], now: Sequence[CellRun]) -> list[HeatSpan]:
    """Which tokens of a look at `then` are still there."""
    return PreparedSample(look(then)).spans(now)


@given(grown())
def test_only_the_same_tokens_are_found_again(history: tuple[Ledger, Ledger]) -> None:
    """A heat drawn on another token than the one it was measured on would be a lie, however likely it looks."""
    then, now = history
    was, here = tokens_of(then), tokens_of(now)
    found: list[int] = []
    for span in spans(runs_of(then), runs_of(now)):
        for i in range(span.n):
            assert was[span.then + i] == here[span.now + i]
            found.append(here[span.now + i])
    assert len(found) == len(set(found))
    whole = {run.turn for run in now.runs if run.lost == 0} - {run.turn for run in now.runs if run.lost}
    kept = {token for run in now.runs if run.turn in whole for token in run.tokens} & set(was.values())
    assert kept <= set(found), "what has lost nothing keeps its heat"


@given(grown(), st.integers(1, 5), st.data())
def test_shares_are_the_sums_of_their_tokens(history: tuple[Ledger, Ledger], tok: int, data: st.DataObject) -> None:
    then, now = history
    before, after = runs_of(then), runs_of(now)
    cells = data.draw(st.permutations(in_order(before)))
    hot = data.draw(st.dictionaries(st.sampled_from(sorted(tokens_of(then))), st.integers(1, 255), max_size=9))
    seen = sight(cells, hot, tok=tok)
    there = spans(before, after)
    heat = PreparedSample(look(before, seen)).now(there)["global"]
    each = one_by_one(seen, [(span.now + i, span.then + i) for span in there for i in range(span.n)])
    pos = data.draw(st.integers(0, now.next_pos + 3))
    n = data.draw(st.integers(1, 40))
    mine = [each[p] for p in range(pos, pos + n) if p in each]
    share = heat.share(pos, n)
    assert share == (None if not mine else approx(sum(mine), abs=1e-9))


def one_by_one(seen: Sight, tokens: Sequence[tuple[int, int]]) -> dict[int, float]:
    """The share of every token that is still there, by its position now: a byte's tokens share it evenly."""
    ranked = sorted(p for _, pos, n in seen.placed for p in range(pos, pos + n))
    shares: dict[int, float] = {}
    for at in range(0, len(ranked), seen.heat_tok):
        together = ranked[at : at + seen.heat_tok]
        shares |= dict.fromkeys(together, weight(seen.heat[at // seen.heat_tok]) / len(together))
    return {now: shares[then] for now, then in tokens if then in shares}


@given(grown(), st.data())
def test_the_hottest_token_is_found(history: tuple[Ledger, Ledger], data: st.DataObject) -> None:
    then, now = history
    before, after = runs_of(then), runs_of(now)
    hot = data.draw(st.dictionaries(st.sampled_from(sorted(tokens_of(then))), st.integers(1, 255), min_size=1))
    heat = PreparedSample(look(before, sight(in_order(before), hot))).now(spans(before, after))["global"]
    group = Group(0, (BlockPart(BlockKind.TURN_A, now.next_pos, 1, "user", 0),))
    was = {here: p for p, token in tokens_of(then).items() for here, same in tokens_of(now).items() if same == token}
    top = heat.hottest(group)
    for pos in was:
        share = heat.share(pos, 1)
        assert share is None or (top is not None and share <= top.share + 1e-9)
    if top is not None:
        assert top == Hottest(top.pos, 1, weight(hot.get(was[top.pos], 0)))


def test_a_coarse_look_names_the_tokens_together() -> None:
    runs = conversation([(8, 4)], sinks=4)
    heat = PreparedSample(look(runs, sight(in_order(runs), {6: 247}, tok=4))).then["global"]
    group = Group(4, (BlockPart(BlockKind.TURN_A, 8, 1, "user", 4),))
    assert heat.hottest(group) == Hottest(4, 4, 0.5)
    assert heat.share(4, 2) == approx(0.25)


def test_a_message_that_lost_tokens_has_no_heat() -> None:
    """Which of its tokens are left nobody says; half of the answers would be wrong."""
    then = [CellRun(turn=1, role="user", kind="recent", pos=0, n=9)]
    now = [CellRun(turn=1, role="user", kind="recent", pos=0, n=7, lost=2)]
    assert spans(then, now) == []


def test_a_recalled_message_is_another_one() -> None:
    then = [CellRun(turn=1, role="user", kind="recent", pos=0, n=9)]
    now = [CellRun(turn=1, role="user", kind="recalled", pos=40, n=9)]
    assert spans(then, now) == []


def test_what_became_of_a_look() -> None:
    """Turn 1 of 12 tokens has left, the rest moved down, and 5 tokens came: the token is 5 ago, once 30, now 18."""
    then = conversation([(5, 7), (6, 9)], sinks=4)
    now = [
        then[0],
        *(CellRun(turn=2, role=run.role, kind=run.kind, pos=run.pos - 12, n=run.n) for run in then[3:]),
        CellRun(turn=3, role="user", kind="recent", pos=19, n=5),
    ]
    looked = PreparedSample(look(then, sight(in_order(then), {})))
    seen = looked.since(looked.spans(now), newest=23)
    assert (seen.pos, seen.ago, seen.evicted, seen.moved) == (30, 5, 12, True)
    assert looked.since(looked.spans(now[:1]), newest=3).ago is None


def test_a_block_moves_whole_or_not_at_all() -> None:
    there = spans(conversation([(5, 7)], sinks=4), [CellRun(turn=1, role="assistant", kind="recent", pos=4, n=7)])
    whole = Group(0, (BlockPart(BlockKind.TURN_A, 3, 1, "assistant", 9), BlockPart(BlockKind.FREE, 2)))
    moved = place_now(whole, there)
    assert moved is not None
    assert [part.pos for part in moved.parts] == [4, None]
    assert place_now(Group(0, (BlockPart(BlockKind.TURN_A, 3, 1, "user", 8),)), there) is None


def test_levels_go_in_half_decades() -> None:
    assert [level(10 ** (-i / 2)) for i in range(10)] == [TOP_LEVEL, 7, 6, 5, 4, 3, 2, 1, 0, 0]
    assert level(0.0) == 0
