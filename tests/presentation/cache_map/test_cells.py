"""The picture of the cache as data: exact for every snapshot, and equal to the obvious one made cell by cell."""

from collections import Counter
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.presentation.cache_map.cells import (
    BlockKind,
    BlockPart,
    Group,
    cells,
    disagreement,
    ghost_marks,
    group_size,
    in_window,
    parts,
    tally,
    window_cells,
)
from chatapp.presentation.cache_map.words import describe, sink_sources
from chatapp.protocol.events import Snapshot
from chatapp.protocol.values import CellRun, Ghost
from tests.support.presentation.inspector_events import conversation, hybrid, past_the_window, snapshot


class Cell(NamedTuple):
    """One cell, for the slow twin."""

    kind: BlockKind
    turn: int | None
    role: str | None
    pos: int | None


FREE = Cell(BlockKind.FREE, None, None, None)
ELSEWHERE = Cell(BlockKind.ELSEWHERE, None, None, None)


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Any snapshot: gaps between positions, any mix of kinds, full, empty, and even more tokens than cells."""
    runs: list[CellRun] = []
    pos = draw(st.integers(0, 3))
    for _ in range(draw(st.integers(0, 12))):
        pos += draw(st.sampled_from([0, 0, 0, 5]))
        run = CellRun(
            turn=draw(st.integers(0, 6)),
            role=draw(st.sampled_from(["system", "user", "assistant", "text"])),
            kind=draw(st.sampled_from(["sink", "pinned", "recent", "recent", "recalled"])),
            pos=pos,
            n=draw(st.integers(1, 40)),
            lost=draw(st.sampled_from([0, 0, 7])),
        )
        runs.append(run)
        pos += run.n
    held = sum(run.n for run in runs)
    n_swa = draw(st.none() | st.integers(1, 100))
    ghosts = [
        Ghost(turn=turn, tokens=draw(st.integers(1, 5000)), whole=draw(st.booleans()))
        for turn in range(draw(st.integers(0, 5)))
    ]
    return snapshot(
        runs,
        n_ctx=draw(st.integers(1, 2 * held + 8)),
        n_elsewhere=draw(st.integers(0, 20)),
        n_swa=n_swa,
        n_ctx_swa=None if n_swa is None else draw(st.integers(1, 200)),
        ghosts=ghosts,
    )


def slow_kind(run: CellRun, snapshot: Snapshot) -> BlockKind:
    """What a cell of this run is, spelled out."""
    if run.kind != "recent":
        return BlockKind(run.kind)
    if run.role == "system":
        return BlockKind.SYSTEM
    if run.lost > 0 or any(ghost.turn == run.turn and not ghost.whole for ghost in snapshot.ghosts):
        return BlockKind.PARTIAL
    return BlockKind.TURN_A if run.turn in (1, 3, 5) else BlockKind.TURN_B


def slow_cells(snapshot: Snapshot) -> list[Cell]:
    """Every cell of the cache, one by one."""
    line = [
        Cell(slow_kind(run, snapshot), run.turn, run.role, run.pos + i) for run in snapshot.runs for i in range(run.n)
    ]
    line = line[: snapshot.n_ctx]
    elsewhere = min(snapshot.n_elsewhere, snapshot.n_ctx - len(line))
    return line + [FREE] * (snapshot.n_ctx - len(line) - elsewhere) + [ELSEWHERE] * elsewhere


def one_by_one(group: Group) -> list[Cell]:
    """The cells of a block, one by one."""
    return [
        Cell(part.kind, part.turn, part.role, None if part.pos is None else part.pos + i)
        for part in group.parts
        for i in range(part.n)
    ]


@given(snapshots(), st.integers(1, 60), st.integers(1, 12))
def test_every_block_holds_exactly_its_cells(taken: Snapshot, width: int, height: int) -> None:
    groups = cells(taken, width, height)
    size = group_size(taken.n_ctx, width, height)
    assert len(groups) <= width * height
    assert sum(group.n for group in groups) == taken.n_ctx
    line = slow_cells(taken)
    for index, group in enumerate(groups):
        expected = line[index * size : (index + 1) * size]
        assert group.start == index * size
        assert one_by_one(group) == expected
        assert group.counts == Counter(cell.kind for cell in expected)
        assert group.counts[group.kind] == max(group.counts.values())
        assert group.mixed == (len({cell[:3] for cell in expected}) > 1)
        assert group.sinks == sum(cell.kind is BlockKind.SINK for cell in expected)


@given(snapshots(), st.integers(1, 60), st.integers(1, 12))
def test_grouping_changes_no_total(taken: Snapshot, width: int, height: int) -> None:
    together: Counter[BlockKind] = Counter()
    for group in cells(taken, width, height):
        together.update(group.counts)
    assert together == tally(parts(taken)) == Counter(cell.kind for cell in slow_cells(taken))


@given(snapshots(), st.integers(1, 60), st.integers(1, 12))
def test_the_next_token_has_one_place(taken: Snapshot, width: int, height: int) -> None:
    line = slow_cells(taken)
    ours = [cell for cell in line if cell != ELSEWHERE]
    head = ours.index(FREE) if FREE in ours else max(0, len(ours) - 1)
    marked = [group for group in cells(taken, width, height) if group.head]
    assert len(marked) == 1
    assert marked[0].start <= head < marked[0].start + marked[0].n


@given(snapshots(), st.integers(1, 60))
def test_the_sliding_window_holds_the_newest_positions(taken: Snapshot, width: int) -> None:
    groups = window_cells(taken, width, 1)
    if taken.n_swa is None or taken.n_ctx_swa is None:
        assert groups == []
        return
    assert sum(group.n for group in groups) == taken.n_ctx_swa
    seen = [cell.pos for group in groups for cell in one_by_one(group) if cell.pos is not None]
    newest = taken.pos_max
    held = [cell.pos for cell in slow_cells(taken) if cell.pos is not None]
    expected = [pos for pos in held if newest is not None and newest - taken.n_swa < pos <= newest]
    assert seen == expected[-taken.n_ctx_swa :]


@given(snapshots(), st.integers(1, 60))
def test_ghosts_fit_and_the_rest_is_counted(taken: Snapshot, width: int) -> None:
    marks, earlier = ghost_marks(taken, width)
    assert sum(mark.width for mark in marks) <= width
    assert [mark.turn for mark in marks] == [ghost.turn for ghost in taken.ghosts][len(taken.ghosts) - len(marks) :]
    assert earlier == taken.evicted_turns - sum(mark.whole for mark in marks)


def test_a_few_sinks_stay_visible_in_the_largest_window() -> None:
    runs = conversation([(40_000, 60_000)], sinks=4)
    groups = cells(snapshot(runs, n_ctx=131_072), 34, 8)
    assert groups[0].kind is BlockKind.TURN_A
    assert groups[0].mixed
    assert groups[0].sinks == 4


def test_a_tie_goes_to_the_rarer_kind() -> None:
    group = Group(0, (BlockPart(BlockKind.TURN_A, 2, 1, "user", 4), BlockPart(BlockKind.PINNED, 2, 2, "user", 6)))
    assert group.kind is BlockKind.PINNED


def test_a_block_names_its_largest_message() -> None:
    group = Group(
        0,
        (
            BlockPart(BlockKind.TURN_A, 3, 1, "user", 0),
            BlockPart(BlockKind.TURN_B, 4, 2, "user", 3),
            BlockPart(BlockKind.TURN_A, 2, 1, "user", 9),
        ),
    )
    assert (group.main.turn, group.main.n) == (1, 5)


def test_the_window_includes_the_newest_token_itself() -> None:
    """n_swa = 4 at position 9: the token sees positions 6, 7, 8 and 9."""
    taken = snapshot(conversation([(10, 0)], sinks=0)[:1], n_ctx=16, n_swa=4, n_ctx_swa=8)
    assert in_window(taken) == [BlockPart(BlockKind.TURN_A, 4, 1, "user", 6)]
    assert tally(part for group in window_cells(taken, 8, 1) for part in group.parts) == {
        BlockKind.TURN_A: 4,
        BlockKind.OUTSIDE: 4,
    }


def test_without_a_cache_there_are_no_blocks() -> None:
    assert cells(snapshot(n_ctx=0), 10, 2) == []


def test_words_for_one_message() -> None:
    assert (
        describe(Group(8, (BlockPart(BlockKind.TURN_A, 8, 3, "assistant", 120),)))
        == "turn 3, reply · 8 cells · positions 120–127"
    )
    assert (
        describe(Group(8, (BlockPart(BlockKind.SINK, 1, 0, "system", 0),)))
        == "system prompt (sink) · 1 cell · position 0"
    )
    assert describe(Group(8, (BlockPart(BlockKind.FREE, 8),))) == "free · 8 cells"


def test_words_for_a_mixture_give_every_count() -> None:
    group = Group(
        0,
        (
            BlockPart(BlockKind.SINK, 2, 0, "system", 0),
            BlockPart(BlockKind.PARTIAL, 5, 2, "user", 2),
            BlockPart(BlockKind.FREE, 1),
        ),
    )
    assert describe(group) == (
        "8 cells · positions 0–6: 5 turn 2, you (partly evicted), 2 system prompt (sink), 1 free"
    )  # fmt: skip


def test_sinks_say_where_they_come_from() -> None:
    assert sink_sources(past_the_window()) == [("system prompt", 31)]
    run = CellRun(turn=1, role="user", kind="sink", pos=0, n=4)
    assert sink_sources(snapshot([run])) == [("turn 1, you", 4)]


def test_a_truthful_snapshot_disagrees_with_nothing() -> None:
    assert disagreement(past_the_window()) is None
    assert disagreement(hybrid()) is None


@pytest.mark.parametrize(
    ("taken", "why"),
    [
        (snapshot(mismatch="position 7 is in no cell"), "position 7 is in no cell"),
        (snapshot(conversation([(3, 4)]), n_used=37), "runs hold 38 tokens, but 37 cells"),
        (snapshot(conversation([(300, 400)]), n_ctx=512), "731 tokens do not fit into 512 cells"),
        (snapshot(conversation([(300, 150)]), n_ctx=512, n_elsewhere=32), "513 tokens do not fit into 512 cells"),
    ],
)
def test_what_does_not_add_up_is_named(taken: Snapshot, why: str) -> None:
    assert why in (disagreement(taken) or "")
