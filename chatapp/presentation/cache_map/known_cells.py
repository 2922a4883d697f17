"""What is known of single cells, beyond the snapshot: the newest look of the probe, and the words of some tokens."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Evicted,
    Loaded,
    Opened,
    Probed,
    Recalled,
    RolledBack,
    Snapshot,
    Spelled,
    Started,
)


@dataclass
class KnownCells:
    """Both hold for the cache as it is now: what a change has made doubtful is forgotten."""

    look: Probed | None = None
    """The newest one, as long as the cache has only grown and evicted since: `heat.spans` follows that, and no more."""
    spelled: Spelled | None = None
    moved: bool = False
    """Tokens have left since the newest snapshot: what is known is of the cache behind that, and not of its picture."""

    def apply(self, event: AnyEvent) -> bool:
        """Take an event; False when nothing is known or forgotten by it."""
        match event:
            case Probed():
                self.look = event
            case Spelled():
                self.spelled = event
            case Evicted():
                self.spelled, self.moved = None, True
            case Snapshot():
                self.moved = False
            case Opened() | RolledBack() | Recalled() | Loaded() | Started():
                self.look = self.spelled = None
            case _:
                return False
        return True

    def words(self, pos: int, n: int) -> Sequence[str]:
        """The tokens at the positions from `pos` on, at most `n`, as far as they are known."""
        if self.spelled is None or self.moved or pos < self.spelled.pos:
            return ()
        at = pos - self.spelled.pos
        return self.spelled.pieces[at : at + n]
