"""Which of the tokens that left the cache may still be felt in it.

Those that stay were computed while the others were in sight, and keep what they took from them. When what stays is
processed again, that is gone.
"""

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Loaded, Opened, RolledBack, Snapshot, Started


class Lingering:
    """Feed it every engine event with `apply`."""

    def __init__(self) -> None:
        self._erased = 0
        """Evicted tokens of which nothing is left."""
        self._made_anew = False
        """Since the newest snapshot."""

    def apply(self, event: AnyEvent) -> None:
        """Take an event. How many tokens have left when the cache is made anew is in the snapshot that follows."""
        match event:
            case Started() | Loaded():
                self._erased, self._made_anew = 0, False
            case Opened():
                self._erased, self._made_anew = 0, not (event.restored_tokens or event.reused_tokens)
            case Evicted() if event.reprocessed_tokens:
                self._made_anew = True
            case RolledBack() if event.rebuilt:
                self._made_anew = True
            case Snapshot() if self._made_anew:
                self._erased, self._made_anew = event.evicted_tokens, False
            case _:
                pass

    def tokens(self, snapshot: Snapshot) -> int:
        """Of the tokens that have left, those that left since the cache was last made."""
        return max(0, snapshot.evicted_tokens - self._erased)
