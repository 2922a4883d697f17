"""Files that appear whole or not at all: the program's own, which only their owner can read, and those that a person
asked for, with the mode that the umask gives them.
"""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def put_in_place(partial: Path, target: Path) -> None:
    """Rename the finished file `partial` to `target`, on the same disk, replacing any file of that name.

    The bytes reach the disk first: whoever finds `target`, even after a power cut, finds all of it.
    """
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(target)


def write_whole(target: Path, text: str) -> None:
    """Replace the small text file `target`, readable by its owner alone."""
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    put_in_place(partial, target)


def write_asked_for(target: Path, data: bytes, *, replace: bool) -> None:
    """Write the file that a person named, whole or not at all; the umask decides who can read it.

    Raises FileExistsError where it exists and not `replace`, and OSError where it cannot be written: an existing file
    is unchanged then, and no other is there. A pipe or a device is written to.
    """
    if target.exists() and not target.is_file():
        target.write_bytes(data)
        return
    if not replace and os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    target = target.resolve()  # a link is kept, and what it points to is replaced
    partial = target.with_name(f".swachat-{os.getpid()}.part")
    try:
        partial.write_bytes(data)
        if replace:
            put_in_place(partial, target)
        else:
            _link(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _link(partial: Path, target: Path) -> None:
    """Give the file its name, unless another program has made one of that name in the meantime."""
    try:
        os.link(partial, target)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(target):
            raise
        put_in_place(partial, target)


def digest(path: Path, name: str, prefix: bytes = b"", report: Callable[[int], None] | None = None) -> str:
    """The hash `name` ("sha256", "sha1") of `prefix` and the file, in hex; `report` gets the bytes done so far."""
    state = hashlib.new(name, prefix, usedforsecurity=False)
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            state.update(chunk)
            done += len(chunk)
            if report is not None:
                report(done)
    return state.hexdigest()
