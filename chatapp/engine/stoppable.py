"""One long call of C code that cannot be interrupted, in a thread of its own, so that a stop need not wait for it."""

import queue
import threading
from collections.abc import Callable
from typing import TypeVar

from chatapp.engine.interrupts import CancelledError

T = TypeVar("T")
LOOK_EVERY_S = 0.05


def in_thread(work: Callable[[], T], cancelled: Callable[[], bool]) -> T:
    """The result of `work`, or its exception. Raises CancelledError soon after `cancelled` says so: the thread then
    ends by itself, and what it finds is dropped.
    """
    answers = queue.SimpleQueue[tuple[T | None, BaseException | None]]()

    def run() -> None:
        try:
            answers.put((work(), None))
        except BaseException as error:  # raised again where it is awaited
            answers.put((None, error))

    threading.Thread(target=run, name="long call", daemon=True).start()
    while True:
        if cancelled():
            raise CancelledError
        try:
            result, error = answers.get(timeout=LOOK_EVERY_S)
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return result  # pyright: ignore[reportReturnType]  (None only where T includes it)
