"""How many cells are free, from which processed tokens each branch holds (see chatapp.cache.branch_cells)."""

from collections.abc import Iterable

from chatapp.cache import branch_cells
from chatapp.cache.branch_cells import Writes


class Occupancy:
    """The cells of one context. `writes` are those of the branch in use."""

    def __init__(self, n_ctx: int) -> None:
        self.n_free = n_ctx
        """Cells that no branch holds."""
        self.writes: Writes = ()
        self._n_ctx = n_ctx
        self._n_writes = 0

    def decoded(self, count: int) -> None:
        """`count` tokens were decoded, each into a free cell."""
        self._write(count)
        self.n_free -= count

    def replaced(self, count: int, parked: Iterable[Writes]) -> None:
        """The branch in use holds `count` new cells, and shares none of them."""
        self.writes = ()
        self._write(count)
        self.recount(parked)

    def resumed(self, writes: Writes, parked: Iterable[Writes]) -> None:
        """Another branch is in use, which holds `writes`."""
        self.writes = writes
        self.recount(parked)

    def cut(self, count: int, parked: Iterable[Writes]) -> None:
        """The branch in use keeps its first `count` cells."""
        self.writes = branch_cells.first(self.writes, count)
        self.recount(parked)

    def recount(self, parked: Iterable[Writes]) -> None:
        """Count again, the cells of parked branches included."""
        self.n_free = self._n_ctx - branch_cells.cells([self.writes, *parked])

    def _write(self, count: int) -> None:
        self.writes = branch_cells.extended(self.writes, self._n_writes, count)
        self._n_writes += count
