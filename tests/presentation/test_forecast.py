"""Which turn a forecast says would be cut, held against the policy that cuts it, with pinned turns between."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chatapp.cache import policy as policies
from chatapp.cache.ledger import Ledger
from chatapp.engine.kv.prefill_plan import CacheRules, Piece, Prefill, chunks, forecast
from chatapp.presentation import notices
from chatapp.presentation.forecast import OWN, cut
from chatapp.protocol.events import Foreseen
from chatapp.protocol.values import CellRun
from tests.support.presentation.inspector_events import NOON_S, snapshot

N_CTX, PENDING_TOK, OPENING_TOK = 256, 2, 3
MOST_KEPT = 3 * N_CTX // 4
"""What sinks and pins may take together (chatapp.engine.session.pins)."""


@dataclass(frozen=True)
class Dialogue:
    """Turns of so many tokens, of which some are pinned where they may be; then a draft."""

    policy: str
    system: int
    turns: list[tuple[int, bool]]
    draft: int


TALKS = st.builds(
    Dialogue,
    st.sampled_from(["sinks", "slide", "rebuild"]),
    st.integers(4, 60),
    st.lists(st.tuples(st.integers(8, 400), st.booleans()), min_size=1, max_size=6),
    st.integers(1, 400),
)


def message(turn: int, n: int, last: int) -> list[Piece]:
    """What a message of `n` tokens adds: the markup that closes the last reply, then itself."""
    closing = [Piece(last, "assistant", (0,) * PENDING_TOK)] if last else []
    return [*closing, Piece(turn, "user", (1,) * n, OPENING_TOK), Piece(turn, "assistant", (2,) * OPENING_TOK, 3)]


def rules_of(dialogue: Dialogue) -> CacheRules:
    return CacheRules(
        policy=dialogue.policy, n_sink=4, share=0.125, most_moves=None, chunk=32, n_ctx=N_CTX, n_swa=0, n_ctx_swa=N_CTX,
        max_pos=1 << 20,
    )  # fmt: skip


def sent(rules: CacheRules, book: Ledger, pieces: list[Piece], stops: tuple[int, ...]) -> Ledger:
    """The cache after these pieces."""
    prefill = rules.without_evicted(book, Prefill(pieces, stops), 0)
    for chunk in chunks(prefill.pieces, rules.chunk, prefill.marks):
        need, turn = rules.need(book, chunk, prefill)
        book = policies.apply(book, rules.make_room(book, need, turn, 0))
        for part in chunk.parts:
            book = rules.enter(book, part)
    return book


def held(book: Ledger) -> dict[int, int]:
    """Tokens of each turn that the policy may take."""
    found: dict[int, int] = {}
    for each in book.runs:
        if each.evictable:
            found[each.turn] = found.get(each.turn, 0) + len(each.tokens)
    return found


@settings(max_examples=300, deadline=None)
@example(Dialogue("sinks", 4, [(400, False)], 5))
@given(TALKS)
def test_the_turn_that_is_cut_is_the_one_that_is_named(dialogue: Dialogue) -> None:
    """And the draft's own beginning is said to leave only where it does: not of a short draft after a long paste, and
    of one shorter than the window where pins take the rest of it."""
    rules = rules_of(dialogue)
    book = rules.enter(Ledger(), next(chunks([Piece(0, "system", (0,) * dialogue.system, sink=True)], N_CTX)).parts[0])
    for turn, (n, pinned) in enumerate(dialogue.turns, 1):
        book = sent(rules, book, message(turn, n, turn - 1), (PENDING_TOK,))
        after = book.pin(turn)
        if pinned and after.n_sink + after.n_pinned <= MOST_KEPT:
            book = after
    last = len(dialogue.turns)
    pieces = message(last + 1, dialogue.draft, last)
    found = forecast(rules, book, [Prefill(pieces, (PENDING_TOK,))], checkpoints=True, floor=None, low=0)
    assert not found.full
    tokens = sum(len(piece.tokens) for piece in pieces)
    assert found.tokens in (tokens, tokens - PENDING_TOK)
    foreseen = Foreseen(
        at_s=NOON_S, id=1, tokens=tokens, free=N_CTX - book.n_tokens, leaving=list(found.leaving),
        partly=found.partial is not None, partial_turn=found.partial, seconds=None,
    )  # fmt: skip
    runs = [
        CellRun(turn=r.turn, role=r.role, kind=str(r.kind), pos=r.pos, n=len(r.tokens), lost=r.lost) for r in book.runs
    ]
    named = cut(foreseen, dialogue.policy, snapshot(runs, n_ctx=N_CTX))

    before = held(book)
    before[last + 1] = dialogue.draft + OPENING_TOK
    if last in before:
        before[last] += PENDING_TOK
    behind = held(sent(rules, book, pieces, (PENDING_TOK,)))
    cuts = [turn for turn, n in before.items() if 0 < behind.get(turn, 0) < n]
    assert [OWN if turn > last else f"the oldest part of turn {turn}" for turn in cuts] == ([named] if named else [])


def foreseen(tokens: int, leaving: Sequence[int] = (), *, partial: int | None = None) -> Foreseen:
    return Foreseen(
        at_s=NOON_S, id=1, tokens=tokens, free=0, leaving=list(leaving), partly=partial is not None,
        partial_turn=partial, seconds=None,
    )  # fmt: skip


PINNED = [
    CellRun(turn=0, role="system", kind="sink", pos=0, n=16),
    CellRun(turn=5, role="user", kind="pinned", pos=16, n=140),
    CellRun(turn=6, role="user", kind="recent", pos=156, n=100),
]


@pytest.mark.parametrize(
    ("event", "policy", "said"),
    [
        (foreseen(90, [4, 6]), "sinks", "90 tokens: evicts turns 4, 6"),
        (foreseen(90, partial=6), "sinks", "90 tokens: evicts the oldest part of turn 6"),
        (foreseen(100, [6]), "sinks", "100 tokens: evicts turn 6"),
        (foreseen(101, [6], partial=7), "sinks", "101 tokens: too long for the window, evicts its own beginning"),
        (
            foreseen(101, [0], partial=5),
            "window",
            "101 tokens: evicts turn 0 and the oldest remaining tokens",
        ),
        (foreseen(257, [0], partial=7), "window", "257 tokens: too long for the window, evicts its own beginning"),
        (foreseen(101, partial=7), "dense", "101 tokens: does not fit"),
    ],
)
def test_the_prompts_border_says_it_in_a_line(event: Foreseen, policy: str, said: str) -> None:
    """156 of 256 cells are kept: a draft of 101 tokens is shorter than the window, and yet does not find room."""
    assert notices.forecast(event, policy, snapshot(PINNED, n_ctx=N_CTX)) == said


def test_of_an_empty_cache_only_the_draft_can_be_cut() -> None:
    """The first message of a conversation, and longer than the window."""
    assert cut(foreseen(300, partial=1), "sinks", snapshot([], n_ctx=N_CTX)) == OWN
    assert cut(foreseen(300, partial=1), "sinks", None) == "the oldest part of a turn"
