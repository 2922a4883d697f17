"""The chat and its database: another program's lock, a file that is gone, and how soon a reply is stored."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from textual.pilot import Pilot

from chatapp.chat.view import Phase
from chatapp.protocol.commands import Command, Open, Pin, Regenerate, Send, Undo
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
    db.execute("BEGIN IMMEDIATE")
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


@dataclass(frozen=True)
class Change:
    """Something that a person does to a conversation of two turns."""

    line: str
    turns: list[str]
    """What is stored of the branch that is shown then."""
    told: type[Command]
    """What the engine is told."""


CHANGES = {
    "undo": Change("/undo", ["one", "first reply"], Undo),
    "regenerate": Change("/regenerate", ["one", "first reply", "two", "second reply"], Regenerate),
    "branch": Change("/branch 1", ["one", "first reply"], Open),
    "pin": Change("/pin 1", ["one", "first reply", "two", "second reply"], Pin),
}


async def two_turns(pilot: Pilot[None]) -> None:
    await ready(pilot)
    for text in ("one", "two"):
        await say(pilot, text)
        await ready(pilot)


def texts(bench: Bench) -> list[str]:
    return [row[2] for row in bench.stored()]


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_waits_for_a_lock_and_holds_up_no_key(bench: Bench, name: str) -> None:
    change = CHANGES[name]
    bench.scripts = [Script(replies=("first reply", "second reply"))]
    async with bench.app().run_test() as pilot:
        await two_turns(pilot)
        before = texts(bench)
        told = len(bench.of(change.told))
        lock = locked(bench)
        await say(pilot, change.line)
        await until(pilot, lambda: phase(pilot) is Phase.STORING)
        assert await longest_pause(0.7) < 1.0
        await pilot.press("x", "y")
        await until(pilot, lambda: draft(pilot) == "xy")
        assert any("said and done is stored as soon as" in line for line in notices(pilot))
        lock.execute("ROLLBACK")
        lock.close()
        await ready(pilot)
        await until(pilot, lambda: texts(bench) == change.turns)
        assert len(bench.of(change.told)) == told + 1
        assert [line for line in spoken(pilot) if line in before] == change.turns


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_is_taken_back_has_not_been_made(bench: Bench, name: str) -> None:
    """Neither in the store nor in the engine, nor on the screen."""
    change = CHANGES[name]
    async with bench.app().run_test() as pilot:
        await two_turns(pilot)
        before, seen, pinned = texts(bench), spoken(pilot), len(bench.of(Pin))
        told = len(bench.of(change.told))
        lock = locked(bench)
        await say(pilot, change.line)
        await until(pilot, lambda: phase(pilot) is Phase.STORING)
        await pilot.press("escape")
        await until(pilot, lambda: phase(pilot) is Phase.IDLE)
        lock.execute("ROLLBACK")
        lock.close()
        await ready(pilot)
        assert texts(bench) == before
        assert [line for line in spoken(pilot) if line in seen] == seen
        if name == "pin":  # the engine had pinned it, and is told to undo that
            assert [pin.pinned for pin in bench.of(Pin)[pinned:]] == [True, False]
        else:
            assert len(bench.of(change.told)) == told


async def test_what_is_done_while_something_is_stored_waits_its_turn(bench: Bench) -> None:
    """Two undos, a name and a message, in that order."""
    async with bench.app().run_test() as pilot:
        await two_turns(pilot)
        lock = locked(bench)
        await say(pilot, "/undo")
        await until(pilot, lambda: phase(pilot) is Phase.STORING)
        await say(pilot, "/undo")
        await say(pilot, "/rename Later")
        await say(pilot, "three")
        await pilot.pause(0.1)
        assert not bench.of(Undo)
        lock.execute("ROLLBACK")
        lock.close()
        await until(pilot, lambda: len(bench.of(Send)) == 3)
        await ready(pilot)
        assert [undo.turn for undo in bench.of(Undo)] == [2, 1]
        assert [(send.turn, send.text) for send in bench.of(Send)][-1] == (1, "three")
        await until(pilot, lambda: texts(bench)[:1] == ["three"])
        with Store.open(bench.db) as store:
            assert store.find_session("Later") is not None


@pytest.mark.parametrize("name", CHANGES)
async def test_a_change_that_cannot_be_stored_is_told_and_not_made(bench: Bench, name: str) -> None:
    change = CHANGES[name]
    async with bench.app().run_test() as pilot:
        await two_turns(pilot)
        seen, told = spoken(pilot), len(bench.of(change.told))
        remove(bench.db)
        await say(pilot, change.line)
        await until(pilot, lambda: any("while this program had" in line for line in notices(pilot)))
        await ready(pilot)
        assert [line for line in spoken(pilot) if line in seen] == seen
        assert len(bench.of(change.told)) == told + (2 if name == "pin" else 0)
