"""What the cache map says of single cells."""

from collections.abc import Iterable

from chatapp.presentation.cache_map.cells import Group


def cell_by_cell(groups: Iterable[Group]) -> dict[int, int]:
    """The position in each cell that the map says holds one."""
    found: dict[int, int] = {}
    for group in groups:
        cell = group.start
        for part in group.parts:
            if part.pos is not None:
                found |= {cell + i: part.pos + i for i in range(part.n)}
            cell += part.n
    return found
