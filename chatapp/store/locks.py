"""One writer for each conversation: a lock that a program holds from reading the branch to storing what follows it.

A lock is a file beside the database, locked with flock: it goes away with a killed process. In the file is who holds
it. Nothing is locked for reading.
"""

import contextlib
import errno
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from chatapp.errors import StoreError
from chatapp.store.files import cannot

POLL_S = 0.05
TELL_AFTER_S = 0.3
"""A wait shorter than this is not worth a line: a single write takes a moment."""
HELD = 4
"""The exit code of a command that does not wait for a conversation that another program holds."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOLCK)
"""What a file system without locks answers: there, nothing can be held."""
_LONGEST_PROGRAM, _LONGEST_FILE_BYTES = 40, 200

Key = int | str
"""The id of a conversation, or the name of another lock."""


@dataclass(frozen=True)
class Holder:
    """Who holds a conversation. `since` is Unix seconds; what is not known is None."""

    program: str
    pid: int | None = None
    since: float | None = None

    def __str__(self) -> str:
        notes: list[str] = []
        if self.pid is not None:
            notes.append(f"process {self.pid}")
        if self.since is not None:
            today = time.strftime("%Y-%m-%d", time.localtime(self.since)) == time.strftime("%Y-%m-%d")
            notes.append(time.strftime("since %H:%M" if today else "since %Y-%m-%d %H:%M", time.localtime(self.since)))
        return f"{self.program} ({', '.join(notes)})" if notes else self.program


class HeldError(StoreError):
    """Another program holds the conversation."""

    exit_code = HELD

    def __init__(self, key: Key, holder: Holder) -> None:
        super().__init__(f"Conversation {key} is open in {holder}.", "Close it there, or wait until it is free.")
        self.holder = holder


class Locks:
    """The locks of one database that this store holds. Any thread may call any method."""

    def __init__(self, database: Path) -> None:
        """`database` is the database's file; each lock is a file beside it, there while it is held."""
        self._database = database.resolve()
        self.program = "swachat"
        """What others are told holds the lock."""
        self._locks: dict[Key, FileLock | None] = {}
        """None where the file system has no locks."""
        self._held: set[Key] = set()
        """Those to keep until `release`; the others are locked for a write."""
        self._writes: Counter[Key] = Counter()
        self._guard = threading.RLock()

    def hold(self, key: Key) -> None:
        """Hold it until `release`; again does nothing. HeldError where another program does.

        StoreError where no lock can be made, as in a folder that is read-only.
        """
        with self._guard:
            self._lock(key)
            self._held.add(key)

    def wait(self, key: Key, *, tell: Callable[[Holder], object], limit_s: float | None = None) -> None:
        """`hold`, as soon as nobody else does; `tell` is called once, if that takes a moment.

        HeldError after `limit_s` seconds; None waits for ever.
        """
        since = time.monotonic()
        told = False
        while True:
            try:
                return self.hold(key)
            except HeldError as error:
                waited_s = time.monotonic() - since
                if limit_s is not None and waited_s >= limit_s:
                    raise
                if not told and waited_s >= TELL_AFTER_S:
                    told = True
                    tell(error.holder)
            time.sleep(POLL_S)

    @contextlib.contextmanager
    def writing(self, key: Key) -> Generator[None]:
        """Nobody else holds it meanwhile. Raises as `hold` does."""
        with self._guard:
            self._lock(key)
            self._writes[key] += 1
        try:
            yield
        finally:
            with self._guard:
                self._writes[key] -= 1
                self._unlock(key)

    def release(self, key: Key) -> None:
        """Let others hold it, once nothing is being written to it; nothing where this store does not hold it."""
        with self._guard:
            self._held.discard(key)
            self._unlock(key)

    def keep_only(self, session_id: int | None) -> None:
        """Release all conversations but this one."""
        for key in list(self._held):
            if isinstance(key, int) and key != session_id:
                self.release(key)

    def release_all(self) -> None:
        """Release whatever this store holds."""
        for key in list(self._held):
            self.release(key)

    def _file(self, key: Key) -> Path:
        return self._database.with_name(f"{self._database.name}-{key}.lock")

    def _lock(self, key: Key) -> None:
        if key in self._locks:
            return
        file = self._file(key)
        lock = FileLock(file, mode=0o600, thread_local=False, fallback_to_soft=False)
        try:
            lock.acquire(blocking=False)
            with contextlib.suppress(OSError):  # who holds it is only told
                file.write_text(json.dumps({"pid": os.getpid(), "program": self.program, "since": time.time()}))
        except Timeout:
            raise HeldError(key, _holder(file)) from None
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise cannot(f"lock conversation {key} with the file {file}", error) from error
            lock = None
        self._locks[key] = lock

    def _unlock(self, key: Key) -> None:
        if key in self._held or self._writes[key]:
            return
        del self._writes[key]
        lock = self._locks.pop(key, None)
        if lock is not None:
            # Removed while it is held: whoever opened the file before sees that, and makes a new one.
            with contextlib.suppress(OSError):
                self._file(key).unlink()
            lock.release()


def _holder(file: Path) -> Holder:
    """Who holds the lock, from its file, which may be being written just now."""
    unknown = Holder("another program")
    try:
        with file.open("rb") as opened:
            said = json.loads(opened.read(_LONGEST_FILE_BYTES))
    except (OSError, ValueError):
        return unknown
    match said:
        case {"pid": int(pid), "program": str(program), "since": float(since)}:
            fits = len(program) <= _LONGEST_PROGRAM and program.isprintable() and 0 <= since < 1e11 and 0 < pid < 2**31
            return Holder(program, pid, since) if fits else unknown
        case _:
            return unknown
