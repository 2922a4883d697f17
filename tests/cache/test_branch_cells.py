"""Cells that branches share, against sets of numbers."""

import doctest

from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache import branch_cells


def test_the_example_in_the_documentation_holds() -> None:
    failed, tried = doctest.testmod(branch_cells)
    assert (failed, tried) == (0, 4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12), st.integers(0, 9)), max_size=12))
def test_branches_take_as_many_cells_as_their_numbers_differ(steps: list[tuple[int, int, int]]) -> None:
    """Each step copies the beginning of one branch and lets the copy grow: the ranges say what plain lists say."""
    ranges: list[branch_cells.Writes] = [()]
    lists: list[list[int]] = [[]]
    number = 0
    for origin, keep, grow in steps:
        i = origin % len(ranges)
        ranges.append(branch_cells.extended(branch_cells.first(ranges[i], keep), number, grow))
        lists.append([*lists[i][:keep], *range(number, number + grow)])
        number += grow
        assert [n for start, stop in ranges[-1] for n in range(start, stop)] == lists[-1]
        assert branch_cells.cells(ranges) == len({n for branch in lists for n in branch})
