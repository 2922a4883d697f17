"""What is known about single cells beyond the snapshot: the probe's newest sample, and the text of some tokens."""

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
    """Both hold for the cache as it is now: what a change makes doubtful is forgotten."""

    sample: Probed | None = None
    """The newest sample, while the cache has only grown and evicted since: `heat.spans` follows no more than that."""
    spelled: Spelled | None = None
    moved: bool = False
    """Tokens were evicted since the newest snapshot: what is known is about the cache after that, not the snapshot."""

    def apply(self, event: AnyEvent) -> bool:
        """Take an event; False if it changes nothing that is known."""
        match event:
            case Probed():
                self.sample = event
            case Spelled():
                self.spelled = event
            case Evicted():
                self.spelled, self.moved = None, True
            case Snapshot():
                self.moved = False
            case Opened() | RolledBack() | Recalled() | Loaded() | Started():
                self.sample = self.spelled = None
            case _:
                return False
        return True

    def words(self, pos: int, n: int) -> Sequence[str]:
        """The text of the tokens from position `pos` on, at most `n`, as far as it is known."""
        if self.spelled is None or self.moved or pos < self.spelled.pos:
            return ()
        at = pos - self.spelled.pos
        return self.spelled.pieces[at : at + n]
