"""Files that appear whole or not at all."""

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
