"""The database as a file: private from its first byte, and moved aside, never overwritten, when it is damaged."""

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Callable, Generator
from pathlib import Path

from chatapp.errors import StoreError

COMPANIONS = ("-wal", "-shm")
"""What SQLite keeps beside a database in WAL mode; it gives them the database's own mode."""

_LOCK_START, _LOCK_BYTES = 0x40000000, 512
"""The bytes of a database that SQLite locks (PENDING_BYTE and what follows it)."""

_RETRY_S = 0.02


@contextlib.contextmanager
def one_opener(path: Path, wait_s: float) -> Generator[None]:
    """Keep other processes from opening the database at `path` while this one does, and may move it aside.

    Makes the folder (0700) where there is none, and locks it, so that no further file is needed. StoreError where
    that fails, or after `wait_s`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise cannot(f"make the folder {path.parent} for the conversation database", error) from error
    try:
        _wait(lambda: _locked(folder), wait_s, f"The conversation database {path} is being opened by another process")
        yield
    finally:
        os.close(folder)


def make_private(path: Path) -> None:
    """See that `path` is a file that only its owner can read (0600).

    It is created before SQLite opens it, because SQLite would create it with the umask's mode. An existing file is
    never opened here: closing any descriptor of a file drops all of the process's POSIX locks on it, those of an open
    database too.
    """
    try:
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
        raise cannot(f"make the conversation database {path}", error) from error


def set_aside(path: Path, wait_s: float) -> Path:
    """Rename a damaged database to `NAME.damaged-TIME`, its companions with it, and make an empty one; the new path.

    Waits up to `wait_s` for the processes that have the damaged file open, and raises StoreError when they keep it:
    SQLite removes its log by name when it closes, and would then remove the new database's.
    """
    try:
        _wait(
            lambda: not _in_use(path), wait_s, f"The conversation database {path} is damaged, and still open elsewhere"
        )
        aside = _reserve(path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"))
        # The companions first: a log left beside a new database would be played back into it.
        for suffix in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                companion(path, suffix).rename(companion(aside, suffix))
        path.replace(aside)
    except OSError as error:
        raise cannot(f"set aside the damaged conversation database {path}", error) from error
    make_private(path)
    return aside


def _wait(ready: Callable[[], bool], wait_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + wait_s
    while not ready():
        if time.monotonic() >= deadline:
            raise StoreError(f"{otherwise}.", "Close the other swachat, then start again.")
        time.sleep(_RETRY_S)


def _locked(folder: int) -> bool:
    """Whether the open folder is locked now; a file system that knows no such lock is taken to have one opener."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _in_use(path: Path) -> bool:
    """Whether another process holds one of SQLite's locks on the database, as each that has it open in WAL does."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_START)
        except (BlockingIOError, PermissionError):  # POSIX leaves open which
            return True
    return False


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


def cannot(what: str, error: OSError) -> StoreError:
    """The one line for a file operation that failed."""
    return StoreError(
        f"Cannot {what}: {error.strerror or error}.",
        "Check the folder's permissions and free space, or name another folder with SWACHAT_DATA_DIR.",
    )
