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
"""The bytes of a database that SQLite locks (PENDING_BYTE and those after it)."""

_RETRY_S = 0.02


@contextlib.contextmanager
def one_opener(path: Path, wait_s: float) -> Generator[None]:
    """Keep other processes from opening the database at `path` while this one opens it or moves it aside.

    Creates the folder (0700) if it does not exist, and locks it, so that no further file is needed. StoreError where
    that fails, or after `wait_s`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
    except OSError as error:
        raise cannot(f"create the folder {path.parent} for the conversation database", error) from error
    try:
        _wait(lambda: _locked(folder), wait_s, f"The conversation database {path} is being opened by another process")
        yield
    finally:
        os.close(folder)


def make_private(path: Path) -> None:
    """Make sure that `path` is a file that only its owner can read (0600).

    It is created before SQLite opens it, because SQLite would create it with the umask's mode. An existing file is
    never opened here: closing any descriptor of a file drops all of the process's POSIX locks on it, including those of
    an open database.
    """
    try:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        if not stat.S_ISREG(path.stat().st_mode):
            kind = "a folder" if path.is_dir() else "not a regular file"
            raise StoreError(
                f"The conversation database {path} is {kind}.", "Move it, or name another folder with SWACHAT_DATA_DIR."
            )
        for file in (path, *(companion(path, suffix) for suffix in COMPANIONS)):
            # A file of another owner cannot be changed, and may still be readable: SQLite will find out.
            with contextlib.suppress(FileNotFoundError, PermissionError):
                if file.stat().st_mode & 0o077:
                    file.chmod(0o600)
    except OSError as error:
        raise cannot(f"create the conversation database {path}", error) from error


def set_aside(path: Path, wait_s: float, content: bytes) -> Path:
    """Rename a damaged database to `NAME.damaged-TIME`, with its companions, and put another in its place; the
    former's new path.

    Waits up to `wait_s` for the processes that have the damaged file open, and raises StoreError if they do not close
    it: SQLite removes its log by name when it closes, and would then remove the new database's.
    """
    try:
        _wait(
            lambda: not _in_use(path),
            wait_s,
            f"The conversation database {path} is damaged, and still open in another process",
        )
        new = _reserve(path.with_name(f"{path.name}.repaired"))
        new.write_bytes(content)
        aside = _reserve(path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}"))
        # The companions first: a log remaining beside a new database would be replayed into it.
        for suffix in COMPANIONS:
            with contextlib.suppress(FileNotFoundError):
                companion(path, suffix).rename(companion(aside, suffix))
        path.replace(aside)
        new.replace(path)
    except OSError as error:
        raise cannot(f"move the damaged conversation database {path} aside", error) from error
    return aside


def _wait(ready: Callable[[], bool], wait_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + wait_s
    while not ready():
        if time.monotonic() >= deadline:
            raise StoreError(f"{otherwise}.", "Close the other swachat, then try again.")
        time.sleep(_RETRY_S)


def _locked(folder: int) -> bool:
    """Whether the open folder could be locked; a file system without such locks counts as locked."""
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def _in_use(path: Path) -> bool:
    """Whether another process holds one of SQLite's locks on the database, as any that has it open in WAL mode does."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, _LOCK_BYTES, _LOCK_START)
        except (BlockingIOError, PermissionError):  # POSIX allows either
            return True
    return False


def companion(path: Path, suffix: str) -> Path:
    """The file that SQLite keeps beside `path`."""
    return path.with_name(path.name + suffix)


def which(path: Path) -> tuple[int, int] | None:
    """Which file has this name: its device and its number there; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _reserve(wanted: Path) -> Path:
    """`wanted`, or the first free name after it, created empty so that no other process takes it."""
    for number in range(1, 1000):
        name = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        with contextlib.suppress(FileExistsError):
            os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            return name
    raise FileExistsError(f"too many files named {wanted}")


def cannot(what: str, error: OSError) -> StoreError:
    """The error for a failed file operation."""
    return StoreError(
        f"Cannot {what}: {error.strerror or error}.",
        "Check the folder's permissions and free space, or name another folder with SWACHAT_DATA_DIR.",
    )
