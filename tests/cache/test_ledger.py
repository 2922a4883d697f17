"""The ledger against its twin, and the examples that its documentation gives."""

import doctest
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache import ledger, memory_plan
from chatapp.cache.ledger import CellKind, Ledger
from tests.cache.twin import Twin, cells_of


@dataclass(frozen=True)
class Append:
    """`append` with this kind; `append_sinks_first` with `n_sink` where the kind is None."""

    turn: int
    role: str
    tokens: tuple[int, ...]
    opening: int
    kind: CellKind | None
    n_sink: int


@dataclass(frozen=True)
class Remove:
    """`remove`, and `renumber` of what follows where `close` says so."""

    p0: int
    p1: int
    evicted: bool
    close: bool


@dataclass(frozen=True)
class Renumber:
    """`renumber`, also by what would collide."""

    p0: int
    delta: int


@dataclass(frozen=True)
class Truncate:
    """`truncate`."""

    p0: int


@dataclass(frozen=True)
class Pin:
    """`pin`, or `unpin`."""

    turn: int
    pinned: bool


@dataclass(frozen=True)
class Return:
    """`returned`, and the turn's tokens after everything else."""

    turn: int


POSITION = st.integers(0, 30)
OPERATIONS = st.lists(
    st.one_of(
        st.builds(
            Append,
            turn=st.integers(0, 3),
            role=st.sampled_from(["user", "assistant"]),
            tokens=st.lists(st.integers(0, 99), max_size=6).map(tuple),
            opening=st.integers(0, 4),
            kind=st.sampled_from([None, *CellKind]),
            n_sink=st.integers(0, 8),
        ),
        st.builds(Remove, POSITION, POSITION, st.booleans(), st.booleans()),
        st.builds(Renumber, POSITION, st.integers(-8, 8)),
        st.builds(Truncate, POSITION),
        st.builds(Pin, st.integers(0, 3), st.booleans()),
        st.builds(Return, st.integers(0, 3)),
    ),
    max_size=14,
)


def test_the_examples_in_the_documentation_hold() -> None:
    for module in (ledger, memory_plan):
        failed, tried = doctest.testmod(module)
        assert tried > 0
        assert failed == 0


@given(OPERATIONS)
def test_every_sequence_of_operations_leaves_what_its_twin_holds(
    operations: list[Append | Remove | Renumber | Truncate | Pin | Return],
) -> None:
    book, twin = Ledger(), Twin()
    for operation in operations:
        match operation:
            case Append(turn, role, tokens, opening, CellKind() as kind, _):
                book = book.append(turn, role, tokens, kind=kind, opening=opening)
                twin.append(turn, role, tokens, kind, opening)
            case Append(turn, role, tokens, opening, _, n_sink):
                book = book.append_sinks_first(turn, role, tokens, n_sink=n_sink, opening=opening)
                twin.append_sinks_first(turn, role, tokens, n_sink, opening)
            case Remove(p0, p1, evicted, close):
                book = book.remove(p0, p1, evicted=evicted)
                twin.remove(p0, p1, evicted=evicted)
                if close and p0 < p1:
                    book = book.renumber(p1, p0 - p1)
                    assert twin.renumber(p1, p0 - p1)
            case Renumber(p0, delta):
                if twin.renumber(p0, delta):
                    book = book.renumber(p0, delta)
                else:
                    with pytest.raises(ValueError, match="is taken"):
                        book.renumber(p0, delta)
            case Truncate(p0):
                book = book.truncate(p0)
                twin.remove(p0, 10**6, evicted=False)
            case Pin(turn, True):
                book = book.pin(turn)
                twin.mark(turn, {CellKind.RECENT, CellKind.RECALLED}, CellKind.PINNED)
            case Pin(turn, _):
                book = book.unpin(turn)
                twin.mark(turn, {CellKind.PINNED}, CellKind.RECENT)
            case Return(turn):
                book = book.returned([turn]).append(turn, "user", (1, 2), kind=CellKind.RECALLED)
                twin.gone.pop(turn, None)
                twin.append(turn, "user", (1, 2), CellKind.RECALLED, 0)
        assert cells_of(book) == twin.cells
        assert book.next_pos == twin.next_pos
        assert book.n_tokens == len(twin.cells)
        assert book.tokens == tuple(cell.token for cell in twin.cells)
        assert book.n_sink == sum(cell.kind is CellKind.SINK for cell in twin.cells)
        assert list(book.turns) == list(dict.fromkeys(c.turn for c in twin.cells if c.kind is not CellKind.SINK))
        assert {gone.turn: gone.tokens for gone in book.gone} == twin.gone
        assert book.evicted_tokens == twin.n_evicted
        assert book.n_pinned == sum(cell.kind is CellKind.PINNED for cell in twin.cells)
        assert list(book.pinned_turns) == list(dict.fromkeys(c.turn for c in twin.cells if c.kind is CellKind.PINNED))
        assert all(run.tokens for run in book.runs)


def test_a_message_remembers_what_it_lost_from_inside() -> None:
    """The map draws a torn message differently: both cuts count, and the pieces become one run again."""
    book = Ledger().append(0, "system", (1, 2), kind=CellKind.SINK).append(1, "user", tuple(range(10)), opening=3)
    for p0, p1 in ((5, 7), (5, 8)):
        book = book.remove(p0, p1).renumber(p1, p0 - p1)
    (run,) = book.of_turn(1)
    assert (run.tokens, run.opening, run.lost, run.pos) == ((0, 1, 2, 8, 9), 3, 5, 2)


def test_what_is_known_of_the_evicted_does_not_grow_for_ever() -> None:
    """A chat of months evicts a hundred thousand turns; each eviction would copy all that is known of them."""
    book = Ledger()
    for turn in range(1, 200):
        book = book.append(turn, "user", (1, 2)).remove(0, 2).renumber(2, -2)
    assert [gone.turn for gone in book.gone] == list(range(200 - ledger.MOST_GONE, 200))
    assert book.evicted_tokens == 398


def test_what_is_rolled_back_is_not_counted_as_evicted() -> None:
    book = Ledger().append(1, "user", (1, 2, 3)).truncate(1)
    assert (book.tokens, book.evicted_tokens, [run.lost for run in book.runs]) == ((1,), 0, [0])


def test_a_recalled_turn_that_is_rolled_back_is_gone_again() -> None:
    """Else the map would show it as never evicted, and it could not be recalled a second time."""
    book = Ledger().append(1, "user", (1, 2)).append(2, "user", (3,)).remove(0, 2).renumber(2, -2)
    back = book.returned([1]).append(1, "user", (1, 2), kind=CellKind.RECALLED)
    assert (back.gone, back.turns, back.evicted_tokens) == ((), (2, 1), 2)
    assert back.truncate(1) == book
