"""How many cells several branches take together, where their common beginning is stored once.

Every token that goes through the model gets the next number, and a branch holds numbers in order of position: ranges
[start, stop). A branch that is copied holds the same numbers as its origin, so a number identifies a cell.

>>> trunk = extended((), 0, 10)
>>> fork = extended(first(trunk, 6), 10, 3)
>>> fork
((0, 6), (10, 13))
>>> cells([trunk, fork]), cells([trunk]), cells([fork])
(13, 10, 9)
"""

from collections.abc import Iterable

Writes = tuple[tuple[int, int], ...]


def extended(writes: Writes, start: int, count: int) -> Writes:
    """`writes` followed by the numbers [start, start + count)."""
    if not count:
        return writes
    if writes and writes[-1][1] == start:
        return (*writes[:-1], (writes[-1][0], start + count))
    return (*writes, (start, start + count))


def first(writes: Writes, count: int) -> Writes:
    """The first `count` numbers."""
    kept: list[tuple[int, int]] = []
    for start, stop in writes:
        if count <= 0:
            break
        kept.append((start, min(stop, start + count)))
        count -= stop - start
    return tuple(kept)


def cells(branches: Iterable[Writes]) -> int:
    """How many distinct numbers the branches hold."""
    total = reached = 0
    for start, stop in sorted(part for branch in branches for part in branch):
        total += max(0, stop - max(start, reached))
        reached = max(reached, stop)
    return total
