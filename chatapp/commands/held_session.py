"""The stored conversation that a command goes on with, held until its store is closed."""

import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from chatapp.errors import StoreError
from chatapp.text import visible

if TYPE_CHECKING:
    from chatapp.store import Holder, SessionInfo, Store


def held_session(
    store: "Store", name: str, begin: Callable[[], "SessionInfo"], *, wait_s: float | None
) -> "SessionInfo":
    """The conversation of that name, which `begin` stores if there is none, as it is once nobody else writes to it.

    Who holds it is said on standard error, once. HeldError after `wait_s` seconds of waiting; None waits for ever.
    Call it outside an event loop, so that Ctrl+C ends the waiting.
    """
    store.locks.program = "swachat ask"
    while True:
        session = store.find_session(name) or _begun(store, name, begin)
        store.locks.wait(session.id, tell=partial(_tell, name), limit_s=wait_s)
        found = store.find_session(name)
        if found is not None and found.id == session.id:
            return found
        store.locks.release(session.id)  # it was deleted or renamed meanwhile


def _begun(store: "Store", name: str, begin: Callable[[], "SessionInfo"]) -> "SessionInfo":
    try:
        return begin()
    except StoreError:
        found = store.find_session(name)
        if found is None:
            raise
        return found  # another program has just begun it


def _tell(name: str, holder: "Holder") -> None:
    line = f'Waiting for the conversation "{name}": it is open in {holder}. Ctrl+C ends the waiting.'
    print(f"swachat: {visible(line)}", file=sys.stderr, flush=True)
