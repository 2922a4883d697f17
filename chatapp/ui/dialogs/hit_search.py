"""What the choosers that search messages share: one search of the store, made at the first words that are typed."""

from collections.abc import Iterator, Sequence

from chatapp.store import Hit, Search, Store

SEARCHED = 1000
"""Messages that a search looks through for choices, newest first."""


class HitSearch:
    """Messages of a store that contain a text. Its `stop` and `close` are those of `SlowSearch`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._search: Search | None = None

    def hits(self, session_id: int | None, text: str) -> Iterator[Sequence[Hit]]:
        """The newest first, as they are found; of one conversation or of all. Raises StoreError."""
        self._search = self._search or self._store.searching()
        yield from self._search.find(session_id, text, SEARCHED)

    def stop(self) -> None:
        """See SlowSearch."""
        if self._search is not None:
            self._search.stop()

    def close(self) -> None:
        """See SlowSearch."""
        if self._search is not None:
            self._search.close()
