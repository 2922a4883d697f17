"""Plain, blocking code that stops where it is told to: a thread of its own, which stands still while its caller runs.

Only one of the two runs at any moment, so that what they share needs no lock, and what they do has one order.
"""

import threading
from collections.abc import Callable, Generator
from typing import Generic, TypeVar

Wish = TypeVar("Wish")


class Abandoned(BaseException):
    """Raised by `pause` where nobody will go on."""


class Lockstep(Generic[Wish]):
    """`work` calls `pause(wish)`, whoever goes through `steps` gets the wish, and the next step goes on after it."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._go, self._back = threading.Semaphore(0), threading.Semaphore(0)
        self._wishes: list[Wish] = []
        self._error: BaseException | None = None
        self._abandoned = self._ended = False

    def pause(self, wish: Wish) -> None:
        """Called by the work: let the caller run until it wants the next step."""
        self._wishes.append(wish)
        self._back.release()
        self._go.acquire()
        if self._abandoned:
            raise Abandoned

    def steps(self) -> Generator[Wish]:
        """Run the work from one wish to the next. What the work raises is raised here. Close it to abandon the work."""
        thread = threading.Thread(target=self._run, name="lockstep", daemon=True)
        thread.start()
        try:
            while True:
                self._go.release()
                self._back.acquire()
                if self._error is not None:
                    raise self._error
                if self._ended:
                    return
                yield self._wishes.pop()
        finally:
            if not self._ended:
                self._abandoned = True
                self._go.release()
            thread.join()

    def _run(self) -> None:
        self._go.acquire()
        try:
            if not self._abandoned:
                self._work()
        except Abandoned:
            pass
        except BaseException as error:
            self._error = error
        finally:
            self._ended = True
            self._back.release()
