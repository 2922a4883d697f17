"""Branches that are not in use: each in a sequence of its own, until its cells or its sequence are needed."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from chatapp.cache.branch_cells import Writes
from chatapp.cache.ledger import Ledger
from chatapp.engine.kv.checkpoints import Checkpoint
from chatapp.engine.kv.occupancy import Occupancy
from chatapp.engine.native.llama import Context
from chatapp.protocol.events import Released


@dataclass(frozen=True, slots=True)
class ParkedBranch:
    """What is needed to resume a branch; `whole_from` is its SlidingFloor."""

    ledger: Ledger
    writes: Writes
    checkpoints: tuple[Checkpoint, ...]
    whole_from: int


class ParkedBranches(Mapping[int, ParkedBranch]):
    """The parked branches of one context by sequence, the longest unused first. `cells` is kept up to date."""

    def __init__(self, context: Context, cells: Occupancy, on_released: Callable[[Released], None]) -> None:
        self._context = context
        self._cells = cells
        self._on_released = on_released
        self._branches: dict[int, ParkedBranch] = {}

    def __getitem__(self, sequence: int) -> ParkedBranch:
        return self._branches[sequence]

    def __iter__(self) -> Iterator[int]:
        return iter(self._branches)

    def __len__(self) -> int:
        return len(self._branches)

    @property
    def writes(self) -> list[Writes]:
        """What each of them holds."""
        return [branch.writes for branch in self._branches.values()]

    def park(self, ledger: Ledger, checkpoints: tuple[Checkpoint, ...], whole_from: int) -> None:
        """Park the branch in use; another sequence is to be used next."""
        self._branches[self._context.sequence] = ParkedBranch(ledger, self._cells.writes, checkpoints, whole_from)

    def resume(self, sequence: int) -> ParkedBranch:
        """Use this branch's sequence; what it holds. The branch that was in use is parked already."""
        branch = self._branches.pop(sequence)
        self._context.use(sequence)
        self._cells.resumed(branch.writes, self.writes)
        return branch

    def unused_sequence(self) -> int:
        """A sequence that holds no branch; where there is none, the longest unused branch is released."""
        most = self._context.n_sequences
        if len(self) + 1 == most:
            self.release_oldest(f"only {most} branches fit")
        return next(each for each in range(most) if each != self._context.sequence and each not in self)

    def release_for(self, need: int) -> None:
        """Release branches, the longest unused first, until `need` cells are free or none is parked."""
        while self and need > self._cells.n_free:
            self.release_oldest("its cells were needed")

    def release_all(self, why: str) -> None:
        """Release each of them."""
        while self:
            self.release_oldest(why)

    def release_oldest(self, why: str) -> None:
        """Evict the longest unused branch, and report it with the reason."""
        sequence = next(iter(self))
        self._context.release(sequence)
        del self._branches[sequence]
        before = self._cells.n_free
        self._cells.recount(self.writes)
        freed = self._cells.n_free - before
        self._on_released(Released(at_s=time.time(), tokens=freed, live_branches=len(self) + 1, why=why))

    def forget(self) -> None:
        """The context was cleared, their sequences with it."""
        self._branches.clear()
