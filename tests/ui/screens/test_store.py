"""The chat and its database: another program's lock, a file that is gone, and how soon a reply is stored."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from chatapp.chat.view import Phase
from chatapp.protocol.commands import Send
from chatapp.store import Store
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, draft, notices, phase, ready, say, shown, spoken, until

WORDS = "one two three four five six seven eight nine ten " * 4
HELD = Script(replies=(WORDS,), hold_after=20)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, store_wait_s=0.02)


def locked(bench: Bench) -> sqlite3.Connection:
    """Another program's lock."""
    db = sqlite3.connect(bench.db, isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    return db


async def longest_pause(seconds: float) -> float:
    """How long the event loop did not come to this task."""
    longest, before = 0.0, time.monotonic()
    end = before + seconds
    while before < end:
        await asyncio.sleep(0.005)
        now = time.monotonic()
        longest, before = max(longest, now - before), now
    return longest


async def test_a_lock_holds_up_no_key_is_told_once_and_loses_nothing(bench: Bench) -> None:
    """During a reply, and for the message after it: that is sent once it is stored."""
    bench.scripts = [Script(replies=(WORDS, "second reply"), token_s=0.02)]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: "two" in spoken(pilot)[-1])
        lock = locked(bench)
        assert await longest_pause(1.5) < 1.0, "SQLite would wait for three seconds"
        await until(pilot, lambda: phase(pilot) is Phase.IDLE)
        await say(pilot, "Again")
        await pilot.press("x", "y")
        await until(pilot, lambda: draft(pilot) == "xy")
        assert phase(pilot) is Phase.STORING
        assert len(bench.of(Send)) == 1
        assert len([line for line in notices(pilot) if "locked by another program" in line]) == 1
        lock.execute("ROLLBACK")
        await until(pilot, lambda: len(bench.of(Send)) == 2)
        await ready(pilot)
        await until(pilot, lambda: len(bench.stored()) == 4 and bench.stored()[-1][3] == "done")
        assert [row[2] for row in bench.stored()] == ["Hello", WORDS, "Again", "second reply"]
        lock.close()


async def test_escape_takes_back_a_message_that_a_lock_keeps_from_being_stored(bench: Bench) -> None:
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        lock = locked(bench)
        await say(pilot, "Again")
        await until(pilot, lambda: phase(pilot) is Phase.STORING)
        await pilot.press("escape")
        await until(pilot, lambda: draft(pilot) == "Again")
        assert phase(pilot) is Phase.IDLE
        lock.execute("ROLLBACK")
        lock.close()
        assert len(bench.of(Send)) == 1
        assert len(bench.stored()) == 2


def remove(file: Path) -> None:
    """`rm swachat.db*`."""
    for found in file.parent.glob(f"{file.name}*"):
        found.unlink()


def replace(file: Path) -> None:
    """Another database is moved over it."""
    other = file.with_name("other.db")
    Store.open(other).close()
    other.replace(file)


def remove_log(file: Path) -> None:
    """What was written last would be lost when the program ends."""
    file.with_name(f"{file.name}-wal").unlink()


@pytest.mark.parametrize("lose", [remove, replace, remove_log])
async def test_a_database_that_is_gone_is_noticed_before_the_next_message(
    bench: Bench, lose: Callable[[Path], None]
) -> None:
    """Nothing is sent that would be stored nowhere; what was typed is in the prompt again."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        lose(bench.db)
        await say(pilot, "Again")
        await until(pilot, lambda: draft(pilot) == "Again")
        assert len(bench.of(Send)) == 1
        assert any("while this program had" in line and "restart swachat" in line for line in notices(pilot))
        assert phase(pilot) is Phase.IDLE


async def test_what_is_shown_of_a_reply_is_stored_within_a_quarter_of_a_second(bench: Bench) -> None:
    """However busy the event loop is: here it does nothing else."""
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await until(pilot, lambda: len(shown(pilot)) == 2 and spoken(pilot)[-1].count(" ") >= 19)
        text = spoken(pilot)[-1]
        end = time.monotonic() + 0.25
        while time.monotonic() < end:  # the event loop is not run meanwhile
            time.sleep(0.01)  # noqa: ASYNC251 - it is what is tested
        assert bench.stored()[-1][2] == text
