"""The saved caches: a file for each of the most recent conversations, so that resuming one needs no prefill.

They hold the conversation as tokens, so they are as private as the database, and are deleted with their conversation.
Losing one costs a prefill and nothing else.
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
        """The file for the cache of this conversation; None where no caches are kept."""
        return self._folder / f"{session_id}.kv" if self._keep else None

    def prune(self) -> None:
        """Delete all but the most recently written files."""
        files = [(file.stat().st_mtime_ns, file) for file in self._folder.glob("*.kv")]
        for _, file in sorted(files, reverse=True)[self._keep :]:
            _remove(file)

    def forget(self, session_id: int) -> None:
        """Delete the file of a deleted conversation."""
        _remove(self._folder / f"{session_id}.kv")


def _remove(file: Path) -> None:
    with suppress(OSError):
        file.unlink()
