"""The map's fast paths against their slow and obvious twins."""

from math import isclose

from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group, blocks
from chatapp.presentation.cache_map.heat import PreparedSample
from chatapp.protocol.events import Probed
from chatapp.protocol.values import CellRun, Sight
from chatapp.ui.widgets.inspector import paint
from tests.support.presentation import plain_map

SIXTEEN = {"background": "ansi_default", "cell-sink": "ansi_yellow", "cell-turn-a": "ansi_blue",
           "cell-turn-b": "ansi_green", "cell-free": "ansi_bright_black"}  # fmt: skip
PALETTES = (
    paint.make_palette({"background": "#101418"}, False),
    paint.make_palette({}, True),
    paint.make_palette(SIXTEEN, False),
    paint.make_palette({"background": "#000000", "cell-pinned": "#6a9fd8"}, False),
)
"""In colour, without, in sixteen colours, and with two kinds of one colour."""

HELD = st.builds(
    BlockPart,
    st.sampled_from(BlockKind),
    st.integers(1, 40),
    st.integers(0, 3),
    st.sampled_from(["user", "assistant", "system"]),
)
"""Few turns: a message comes back after another one, as one that is pinned in between has it."""


@st.composite
def lines(draw: st.DrawFn) -> list[BlockPart]:
    """Cells in order: those that hold something have positions, now and then with a gap."""
    line: list[BlockPart] = []
    pos = 0
    for part in draw(st.lists(HELD, min_size=1, max_size=8)):
        if part.kind in plain_map.BARE:
            line.append(BlockPart(part.kind, part.n))
            continue
        pos += draw(st.sampled_from([0, 0, 0, 5]))
        line.append(part._replace(pos=pos))
        pos += part.n
    return line


GROUPS = st.builds(Group, st.just(0), lines().map(tuple), st.booleans())


@given(lines(), st.integers(1, 60), st.none() | st.integers(0, 400))
def test_blocks_are_those_of_counting_cell_by_cell(line: list[BlockPart], size: int, head: int | None) -> None:
    assert blocks(line, size, head) == plain_map.blocks(line, size, head)


@given(GROUPS)
def test_the_main_part_is_the_message_with_most_cells(group: Group) -> None:
    assert group.main == plain_map.main(group)


@given(GROUPS, st.sampled_from(PALETTES))
def test_a_block_looks_as_the_rules_have_it(group: Group, palette: paint.Palette) -> None:
    assert paint.block(group, palette) == plain_map.block(group, palette)


@given(st.lists(GROUPS, max_size=12), st.sampled_from(PALETTES), st.sampled_from([None, "+"]))
def test_a_row_is_its_blocks_one_by_one(groups: list[Group], palette: paint.Palette, cursor: str | None) -> None:
    base = Style(color="white", bgcolor="#202020")
    segments = [paint.block(group, palette) for group in groups] + ([Segment(cursor)] if cursor else [])
    row = paint.row(segments, base)
    assert row.cell_length == len(segments)
    assert row.simplify() == Strip(segments, len(segments)).simplify().apply_style(base).simplify()


@given(lines(), st.integers(1, 60), st.integers(1, 9), st.data())
def test_the_heat_of_a_block_is_that_of_its_tokens(
    line: list[BlockPart], size: int, heat_tok: int, data: st.DataObject
) -> None:
    """Where a byte stands for several tokens too; the sums are taken in another order."""
    held = [part for part in line if part.pos is not None]
    n_visible = sum(part.n for part in held)
    heat = data.draw(st.binary(min_size=-(-n_visible // heat_tok), max_size=-(-n_visible // heat_tok)))
    runs = [CellRun(turn=i, role="user", kind="recent", pos=part.pos or 0, n=part.n) for i, part in enumerate(held)]
    sight = Sight(
        kind="global", n_cells=n_visible, n_visible=n_visible, placed=[(0, run.pos, run.n) for run in runs], shares=[],
        heat=heat, heat_tok=heat_tok, top=[],
    )  # fmt: skip
    probed = Probed(at_s=0, pos=0, runs=runs, sink_share=0, sights=[sight], layers=[], mismatch=None, ms=0)
    look = PreparedSample(probed)
    for group in blocks(line, size) if held else []:
        of_now = look.now(look.spans(runs))["global"]
        found, expected = of_now.of(group), plain_map.share(sight, group)
        assert (found is None) == (expected is None)
        assert found is None or isclose(found, expected or 0, abs_tol=1e-9)
