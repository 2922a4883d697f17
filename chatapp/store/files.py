"""The database as a file: private from its first byte, and moved aside, never overwritten, when it is damaged."""

import contextlib
import os
import stat
import time
from pathlib import Path

from chatapp.errors import StoreError

COMPANIONS = ("-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode; it gives them the database's own mode."""


def make_private(path: Path) -> None:
    """See that `path` is a file that only its owner can read (0600), in a folder that exists (0700 when made here).

    The file is created before SQLite opens it, because SQLite would create it with the umask's mode. An existing file
    is never opened here: closing any descriptor of a file drops all of the process's POSIX locks on it, those of an
    open database too.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "no regular file"
            raise StoreError(f"The conversation database {path} is {kind}.", "Move it away, or name another one.")
        for file in (path, *(companion(path, suffix) for suffix in COMPANIONS)):
            # A file of another owner cannot be changed, and may still be readable: SQLite will say whether it is.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if file.stat().st_mode & 0o077:
                    file.chmod(0o600)
    except OSError as error:
        raise cannot("make", path, error) from error


def identity(path: Path) -> tuple[int, int]:
    """Which file `path` names just now; a replaced file has another identity."""
    try:
        found = path.stat()
    except OSError as error:
        raise cannot("read", path, error) from error
    return found.st_dev, found.st_ino


def set_aside(path: Path, seen: tuple[int, int]) -> Path | None:
    """Rename a damaged database to `NAME.damaged-TIME`, its companions with it; the new path.

    None where `path` is no longer the file that was `seen` to be damaged: another process has moved it already.
    """
    if identity(path) != seen:
        return None
    try:
        aside = _reserve(path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"))
        # The companions first: a log left beside a new database would be played back into it.
        for suffix in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                companion(path, suffix).rename(companion(aside, suffix))
        path.replace(aside)
    except OSError as error:
        raise cannot("set aside the damaged", path, error) from error
    return aside


def companion(path: Path, suffix: str) -> Path:
    """The file that SQLite keeps beside `path`."""
    return path.with_name(path.name + suffix)


def _reserve(wanted: Path) -> Path:
    """`wanted`, or the first free name after it, created empty so that no other process takes it."""
    for number in range(1, 1000):
        name = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return name
    raise FileExistsError(f"too many files named {wanted}")


def cannot(do: str, path: Path, error: OSError) -> StoreError:
    """The one line for a file operation that failed."""
    return StoreError(
        f"Cannot {do} the conversation database {path}: {error.strerror or error}.",
        "Check the folder's permissions and free space, or name another folder with SWACHAT_DATA_DIR.",
    )
