"""The map after any history of events: equal to one drawn from scratch, and no word nor heat on a wrong token."""

from collections.abc import Iterator

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.cache.ledger import Ledger
from chatapp.presentation.cache_map.by_cell import ByCell
from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group
from chatapp.presentation.cache_map.known_cells import KnownCells
from chatapp.presentation.cache_map.picture import GLOBAL, SLIDING, MapPicture, MapView
from chatapp.presentation.observed import Observed
from chatapp.protocol.attention_bytes import weight
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Recalled, RolledBack, Snapshot, Spelled
from tests.support.drawn_cells import cell_by_cell
from tests.support.presentation.cache_events import N_CTX, History, heat_of, histories, model, tokens_of
from tests.support.presentation.inspector_events import NOON_S, conversation, loaded, snapshot
from tests.support.presentation.looks import in_order, look, sight

BY_POSITION = MapView()
VIEWS = st.builds(MapView, by_cell=st.booleans(), heat=st.booleans())


def drawn(picture: MapPicture, size: tuple[int, int]) -> list[object]:
    """All that a person could see of a picture."""
    shown: list[object] = [picture.kinds, picture.notes, picture.wants_sample]
    for kind in (GLOBAL, SLIDING):
        blocks, heat = picture.blocks(kind), picture.heat(kind)
        groups = [] if blocks is None else blocks(*size)
        levels = None if heat is None else [heat.level(group) for group in groups]
        shown += [groups, levels, [picture.about(kind, group) for group in groups]]
    return shown


@settings(max_examples=60, deadline=None)
@given(histories(), VIEWS, st.tuples(st.integers(1, 40), st.integers(1, 8)), st.data())
def test_events_one_by_one_leave_what_is_drawn_from_scratch(
    history: History, view: MapView, size: tuple[int, int], data: st.DataObject
) -> None:
    """What the picture keeps from one drawing to the next must never be seen: neither an old look's cells nor heat."""
    observed, picture = Observed(), MapPicture()
    for event in (model(), *(event for event, _ in history.events)):
        observed.apply(event)
        if data.draw(st.booleans()):
            other = data.draw(VIEWS)
            picture.update(observed.snapshot, observed.loaded, observed.known, other)
            drawn(picture, size)
    picture.update(observed.snapshot, observed.loaded, observed.known, view)
    fresh, known = MapPicture(), KnownCells(sample=observed.known.sample)
    fresh.update(observed.snapshot, observed.loaded, known, view)
    assert drawn(picture, size) == drawn(fresh, size)


def moments(history: History) -> Iterator[tuple[Observed, Ledger]]:
    """What is known at each snapshot, and the truth."""
    observed = Observed()
    observed.apply(model())
    for event, ledger in history.events:
        observed.apply(event)
        if isinstance(event, Snapshot):
            yield observed, ledger


@settings(max_examples=60, deadline=None)
@given(histories())
def test_heat_stands_on_the_token_that_was_looked_at(history: History) -> None:
    """Through evictions, renumbering, undo, another reply, recalls and other conversations with the same turns."""
    picture = MapPicture()
    for observed, ledger in moments(history):
        picture.update(observed.snapshot, observed.loaded, observed.known, MapView(heat=True))
        for kind in (GLOBAL, SLIDING):
            heat = picture.heat(kind)
            for pos, token in tokens_of(ledger).items():
                share = None if heat is None else heat.share(pos, 1)
                assert share is None or abs(share - weight(heat_of(token))) < 1e-9


@settings(max_examples=60, deadline=None)
@given(histories(), st.tuples(st.integers(1, 40), st.integers(1, 8)))
def test_by_cell_every_token_is_where_it_was_read(history: History, size: tuple[int, int]) -> None:
    """Whatever has come since: the picture by cell is that of the look, and of no other moment."""
    picture = MapPicture()
    for observed, _ in moments(history):
        picture.update(observed.snapshot, observed.loaded, observed.known, MapView(by_cell=True))
        if observed.known.sample is None:
            assert not picture.by_cell
            continue
        for kind, seen in zip((GLOBAL, SLIDING), observed.known.sample.sights, strict=True):
            blocks = picture.blocks(kind)
            assert blocks is not None
            groups = blocks(*size)
            assert cell_by_cell(groups) == {cell: pos for cell, pos, _ in seen.placed}
            assert sum(group.n for group in groups) == N_CTX
            assert all(part.kind is not BlockKind.STRAY for group in groups for part in group.parts)


def test_a_position_that_the_ledger_does_not_know_is_drawn_as_such() -> None:
    """Cells 2 and 3 hold positions after the ledger's last one: that is a mismatch, and looks like nothing else."""
    runs = conversation([(3, 0)], sinks=4)[:2]
    probed = look(runs, sight([(0, 0, 2), (2, 7, 2), (6, 2, 5)], {}, n_cells=16))
    parts = ByCell(probed, probed.sights[0], 16).parts
    assert [(part.kind, part.n) for part in parts] == [
        (BlockKind.SINK, 2),
        (BlockKind.STRAY, 2),
        (BlockKind.UNSEEN, 2),
        (BlockKind.SINK, 2),
        (BlockKind.TURN_A, 3),
        (BlockKind.UNSEEN, 5),
    ]


def pictured(*events: AnyEvent, view: MapView = BY_POSITION) -> MapPicture:
    """The picture after these events."""
    observed, picture = Observed(), MapPicture()
    for event in (model(), *events):
        observed.apply(event)
    picture.update(observed.snapshot, observed.loaded, observed.known, view)
    return picture


RUNS = conversation([(5, 7)], sinks=4)
BLOCK = Group(8, (BlockPart(BlockKind.TURN_A, 2, 1, "user", 8),))


def test_a_block_is_told_with_its_words_its_age_and_its_attention() -> None:
    looked = look(RUNS, sight(in_order(RUNS), {8: 223, 9: 247}))
    words = Spelled(at_s=NOON_S, pos=4, tokens=[1] * 6, pieces=["The", " cat", " is", " on", "\n", " a\tm"])
    picture = pictured(snapshot(RUNS), looked, words)
    about = picture.about(GLOBAL, BLOCK)
    assert about == (
        "turn 1, you · 2 cells · positions 8–9 · 7–6 tokens ago · “␊ a␉m” · 56% of attention, most on “ a␉m” (50%)"
    )
    assert picture.unknown_words(BLOCK) is None


def test_what_is_written_in_a_token_is_never_obeyed() -> None:
    words = Spelled(at_s=NOON_S, pos=8, tokens=[1], pieces=["[red]\x1b]52;c;aGk=\x07"])
    about = pictured(snapshot(RUNS), words).about(GLOBAL, Group(8, (BlockPart(BlockKind.TURN_A, 1, 1, "user", 8),)))
    assert "“[red]␛]52;c;aGk=␇”" in about


def test_words_are_forgotten_when_tokens_may_have_other_positions() -> None:
    words = Spelled(at_s=NOON_S, pos=4, tokens=[1] * 6, pieces=["w"] * 6)
    gone = Evicted(
        at_s=NOON_S, policy="sinks", tokens=1, turns=[1], partial_turn=None, removed=[(4, 5)], renumbered=True, ms=0.1,
        next_decode_ms=1.0, why="",
    )  # fmt: skip
    assert pictured(snapshot(RUNS), words).unknown_words(BLOCK) is None
    assert pictured(snapshot(RUNS), words, gone).unknown_words(BLOCK) == (8, 2)
    assert "“" not in pictured(snapshot(RUNS), words, gone).about(GLOBAL, BLOCK)


def test_words_of_the_cache_behind_an_eviction_wait_for_its_picture() -> None:
    """They come after the eviction's event, but the newest picture is still the one before it."""
    words = Spelled(at_s=NOON_S, pos=4, tokens=[1] * 6, pieces=["w"] * 6)
    gone = Evicted(
        at_s=NOON_S, policy="sinks", tokens=1, turns=[1], partial_turn=None, removed=[(4, 5)], renumbered=True, ms=0.1,
        next_decode_ms=1.0, why="",
    )  # fmt: skip
    assert "“" not in pictured(snapshot(RUNS), gone, words).about(GLOBAL, BLOCK)
    assert "“ww”" in pictured(snapshot(RUNS), gone, words, snapshot(RUNS)).about(GLOBAL, BLOCK)


def test_fewer_words_than_were_asked_for_are_not_asked_for_again() -> None:
    words = Spelled(at_s=NOON_S, pos=8, tokens=[1], pieces=["w"])
    assert pictured(snapshot(RUNS), words).unknown_words(BLOCK) is None


def test_a_turn_that_was_recalled_twice_has_no_heat_of_the_first_time() -> None:
    """To the runs it is the same message at the same place: only the event tells that it went and came."""
    recalled = [RUNS[0], *(msgspec.structs.replace(run, kind="recalled") for run in RUNS[1:])]
    looked = look(recalled, sight(in_order(recalled), {5: 247}))
    again = Recalled(at_s=NOON_S, turns=[1], tokens=12, ms=1.0)
    heat = MapView(heat=True)
    assert pictured(snapshot(recalled), looked, view=heat).heat(GLOBAL) is not None
    assert pictured(snapshot(recalled), looked, again, view=heat).heat(GLOBAL) is None


def test_a_look_is_wanted_where_one_is_to_be_shown_and_there_is_none() -> None:
    cut = RolledBack(at_s=NOON_S, tokens=1, to_pos=15, rebuilt=False, processed_tokens=0, why="", ms=0.1)
    looked = look(RUNS, sight(in_order(RUNS), {}))
    heat = MapView(heat=True)
    assert pictured(snapshot(RUNS), view=heat).wants_sample
    assert not pictured(snapshot(RUNS)).wants_sample
    assert not pictured(snapshot(RUNS), looked, view=heat).wants_sample
    assert pictured(snapshot(RUNS), looked, cut, view=heat).wants_sample


def test_what_cannot_be_shown_says_why() -> None:
    """No probe; no look yet; a model whose positions llama.cpp does not tell."""
    blind = loaded()
    why = msgspec.structs.replace(blind.capability.probe, ok=False, why="This libllama has no get_sched.")
    blind = msgspec.structs.replace(blind, capability=msgspec.structs.replace(blind.capability, probe=why))
    nowhere = look(RUNS, msgspec.structs.replace(sight(in_order(RUNS), {}), placed=[]))
    physical = MapView(by_cell=True)
    for events, said in (
        ([blind, snapshot(RUNS)], "This libllama has no get_sched."),
        ([snapshot(RUNS)], "No sample yet"),
        ([snapshot(RUNS), nowhere], "does not say which cell"),
    ):
        picture = pictured(*events, view=physical)
        assert said in picture.notes[0]
        assert not picture.by_cell
        assert picture.blocks(GLOBAL) is not None, "the map by position is shown meanwhile"


def test_by_cell_a_block_is_told_by_numbers_and_named_by_where_it_is_now() -> None:
    """Turn 1 had left the cells 4 to 15; what came after it lies there in two pieces, and has moved down since."""
    then = [RUNS[0], *(msgspec.structs.replace(run, turn=2, pos=run.pos + 12) for run in RUNS[1:])]
    now = [RUNS[0], *(msgspec.structs.replace(run, turn=2) for run in RUNS[1:])]
    looked = look(then, sight([(0, 0, 4), (4, 20, 8), (14, 16, 4)], {17: 247}, n_cells=24))
    words = Spelled(at_s=NOON_S, pos=4, tokens=[1] * 5, pieces=["The", " cat", " is", " on", " a"])
    picture = pictured(snapshot(now), looked, words, view=MapView(by_cell=True, heat=True))
    blocks = picture.blocks(GLOBAL)
    assert blocks is not None
    groups = blocks(6, 1)
    assert [group.start for group in groups][:3] == [0, 86, 172]
    small = Group(14, (BlockPart(BlockKind.TURN_B, 4, 2, "user", 16),))
    assert picture.about(GLOBAL, small) == (
        "turn 2, you · cells 14–17 · positions 16–19 · 11–8 tokens ago · “The cat is on” · 50% of attention,"
        " most on position 17 (50%)"
    )
    assert picture.notes == [
        "by cell: as read from llama.cpp at position 27",
        "heat: attention of the token at position 27, the newest; shifted since",
    ]
