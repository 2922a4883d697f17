"""For all tests of the interface: it touches the store in threads only."""

import asyncio
import sys
from collections.abc import Generator
from types import FrameType

import pytest

from chatapp.store.database import Database


def asked_by_the_interface(frame: FrameType | None) -> bool:
    """Tests themselves may look into the store, wherever they are called."""
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        if name.startswith(("chatapp.ui.", "tests.")):
            return name.startswith("chatapp.")
        frame = frame.f_back
    return False


@pytest.fixture(autouse=True)
def store_off_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    """A read or write of the database on the event loop fails the test: another program's lock would hold up keys."""
    wrong: list[str] = []
    check = Database._must_be_the_same  # pyright: ignore[reportPrivateUsage] - what every read and write passes

    def checked(database: Database) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            pass
        else:
            caller = sys._getframe(4)  # pyright: ignore[reportPrivateUsage] - past the two context managers
            if asked_by_the_interface(caller):
                wrong.append(f"{caller.f_globals['__name__']}.{caller.f_code.co_name}")
        check(database)

    monkeypatch.setattr(Database, "_must_be_the_same", checked)
    yield
    assert not wrong, f"the store was used on the event loop, in {', '.join(sorted(set(wrong)))}"
