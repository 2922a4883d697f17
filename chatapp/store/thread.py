"""Writing off the event loop: a thread with a queue in order, so that no lock and no disk holds up a key."""

import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeVar

from chatapp.errors import BusyError, StoreError

T = TypeVar("T")

WAIT_S = 0.02
"""How long who asks for a write waits for it: nearly all are done by then, and a frame takes as long."""
RETRY_S = 0.05
TELL_AFTER_S = 0.5
"""A lock that lasts longer is told. Shorter ones are those of another swachat, or of a backup."""


class Writer(Protocol):
    """Who carries out writes."""

    def do(
        self, work: Callable[[], T], then: Callable[[T], object], failed: Callable[[StoreError], object]
    ) -> Callable[[], None]:
        """Do `work`, then `then` with what it returned, or `failed` with its error.

        While another program holds a lock, `work` is repeated; what is returned ends that: it fails then.
        """
        ...


class AtOnce:
    """A `Writer` that does it at once, and repeats nothing."""

    def do(
        self, work: Callable[[], T], then: Callable[[T], object], failed: Callable[[StoreError], object]
    ) -> Callable[[], None]:
        """See Writer."""
        try:
            found = work()
        except StoreError as error:
            failed(error)
        else:
            then(found)
        return lambda: None


class _Job:
    def __init__(self, work: Callable[[], Any], then: Callable[[Any], object], failed: Callable[[StoreError], object]):
        self.work, self.then, self.failed = work, then, failed
        self.found: Any = None
        self.error: BaseException | None = None
        self.withdrawn = False
        self.later = False
        """Who asked for it waits no more: it is delivered."""
        self.done = threading.Event()

    def withdraw(self) -> None:
        self.withdrawn = True

    def finish(self) -> None:
        """Call back, on the event loop."""
        if isinstance(self.error, StoreError):
            self.failed(self.error)
        elif self.error is not None:
            raise self.error
        else:
            self.then(self.found)


class StoreThread:
    """A `Writer` with a thread of its own. Work is done in the order in which it was asked for.

    `do` and `soon` are called on the event loop, and call back there. The store that the work uses should be one that
    waits for locks for a short time (`Store.wait_for_locks`): the thread repeats what a lock has kept from being done.
    """

    def __init__(
        self,
        deliver: Callable[[Callable[[], object]], object],
        *,
        waiting: Callable[[StoreError], object],
        wait_s: float = WAIT_S,
    ) -> None:
        """`deliver` calls something on the event loop; `waiting` is told once of each lock that lasts."""
        self._deliver, self._waiting, self._wait_s = deliver, waiting, wait_s
        self._jobs: deque[_Job] = deque()
        self._due: tuple[float, _Job] | None = None
        self._changed = threading.Condition()
        self._running = False
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)
        self._thread.start()

    def do(
        self, work: Callable[[], T], then: Callable[[T], object], failed: Callable[[StoreError], object]
    ) -> Callable[[], None]:
        """See Writer."""
        job = _Job(work, then, failed)
        with self._changed:
            self._jobs.append(job)
            self._changed.notify_all()
        job.done.wait(self._wait_s)
        with self._changed:
            job.later = not job.done.is_set()
        if not job.later:
            job.finish()
        return job.withdraw

    def soon(
        self, delay_s: float, work: Callable[[], T], then: Callable[[T], object], failed: Callable[[StoreError], object]
    ) -> None:
        """Do `work` after `delay_s`, whatever the event loop does meanwhile, unless something is due before that."""
        with self._changed:
            if self._due is None:
                job = _Job(work, then, failed)
                job.later = True
                self._due = (time.monotonic() + delay_s, job)
                self._changed.notify_all()

    def finish(self, timeout_s: float) -> bool:
        """Wait until everything is done, for at most `timeout_s`, and end the thread; False if something is not."""
        with self._changed:
            if self._due is not None:
                self._jobs.append(self._due[1])
                self._due = None
            self._changed.notify_all()
            done = self._changed.wait_for(lambda: not self._jobs and not self._running, timeout_s)
            self._ended = True
            self._changed.notify_all()
        return done

    # ----------------------------------------------------------------------- in the thread

    def _run(self) -> None:
        while (job := self._next()) is not None:
            self._carry_out(job)
            with self._changed:
                self._running = False
                job.done.set()
                self._changed.notify_all()
                later = job.later
            if later and not self._ended:
                self._deliver(job.finish)

    def _next(self) -> _Job | None:
        with self._changed:
            while True:
                if self._ended:
                    return None
                if self._due is not None and self._due[0] <= time.monotonic():
                    self._jobs.append(self._due[1])
                    self._due = None
                if self._jobs:
                    self._running = True
                    return self._jobs.popleft()
                self._changed.wait(None if self._due is None else max(0.0, self._due[0] - time.monotonic()))

    def _carry_out(self, job: _Job) -> None:
        began, told = time.monotonic(), False
        while True:
            try:
                job.found = job.work()
                return
            except BusyError as error:
                if job.withdrawn or self._ended:
                    job.error = error
                    return
                if not told and time.monotonic() - began >= TELL_AFTER_S:
                    told = True
                    self._deliver(partial(self._waiting, error))
            except BaseException as error:
                job.error = error
                return
            time.sleep(RETRY_S)
