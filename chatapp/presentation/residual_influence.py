"""Which evicted tokens may still have influence in the cache.

The tokens that are kept were computed while the evicted ones were visible, and carry their influence. It is gone once
the kept tokens are processed again.
"""

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Loaded, Opened, RolledBack, Snapshot, Started


class ResidualInfluence:
    """Feed it every engine event with `apply`."""

    def __init__(self) -> None:
        self._erased = 0
        """Evicted tokens that no longer have any influence."""
        self._made_anew = False
        """The cache was rebuilt since the newest snapshot."""

    def apply(self, event: AnyEvent) -> None:
        """Take an event. How many tokens were evicted before a rebuild is in the snapshot that follows it."""
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
        """Tokens evicted since the cache was last built."""
        return max(0, snapshot.evicted_tokens - self._erased)
