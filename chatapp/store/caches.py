"""The saved caches: a file for each of the conversations that were open last, so that going on needs no prefill.

They hold what was said, as tokens, so they are as private as the database, and go when their conversation goes. Losing
one costs a prefill and nothing else.
"""

from contextlib import suppress
from pathlib import Path


class SavedCaches:
    """The files in one folder, at most `keep` of them."""

    def __init__(self, folder: Path, keep: int) -> None:
        """`folder` exists; `keep` 0 keeps none."""
        self._folder = folder
        self._keep = keep

    def path(self, session_id: int) -> Path | None:
        """Where the cache of this conversation goes; None where none is kept."""
        return self._folder / f"{session_id}.kv" if self._keep else None

    def prune(self) -> None:
        """Remove all but the ones that were written last."""
        files = [(file.stat().st_mtime_ns, file) for file in self._folder.glob("*.kv")]
        for _, file in sorted(files, reverse=True)[self._keep :]:
            _remove(file)

    def forget(self, session_id: int) -> None:
        """Remove that of a conversation which is deleted."""
        _remove(self._folder / f"{session_id}.kv")


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
