"""Opening a conversation that another program has open: it is asked what to do, and nothing forks in silence."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from chatapp.chat.view import Phase
from chatapp.protocol.commands import Open, Save, Send
from chatapp.store import HeldError, Store
from chatapp.ui.dialogs.chooser import Chooser
from chatapp.ui.dialogs.waiting import Waiting
from chatapp.ui.widgets.prompt import Prompt
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import (
    Bench,
    chat_screen,
    draft,
    notices,
    phase,
    ready,
    say,
    spoken,
    until,
)

SAID = ["Hello", "Good day."]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def other(bench: Bench) -> Iterator[Store]:
    """Another program, which has a conversation called trip open."""
    with Store.open(bench.db) as store:
        store.locks.program = "swachat ask"
        session = store.new_session(model="starter", system=None, settings={}, name="trip", hold=True)
        asked = store.add_message(session.id, parent_id=None, turn=1, role="user", text=SAID[0])
        store.add_message(session.id, parent_id=asked, turn=1, role="assistant", text=SAID[1])
        yield store


def offered(pilot: Pilot[None]) -> list[str]:
    """The choices of the list that is open."""
    lists = pilot.app.screen.query(OptionList) if isinstance(pilot.app.screen, Chooser) else ()
    return [str(option.prompt).split("\n")[0] for shown in lists for option in shown.options]


async def asked(pilot: Pilot[None]) -> str:
    """Wait for the question; what it says about who has the conversation open."""
    await until(pilot, lambda: offered(pilot) == ["Wait", "Read", "Branch"])
    return str(pilot.app.screen.query_one(".title", Static).render())


async def choose(pilot: Pilot[None], word: str) -> None:
    await pilot.press(*word)
    await until(pilot, lambda: [text.lower() for text in offered(pilot)] == [word])
    await pilot.press("enter")


async def choose_in_list(pilot: Pilot[None], title: str) -> None:
    """F4, and the conversation of this title."""
    await pilot.press("f4")
    await until(pilot, lambda: title in offered(pilot))
    await pilot.press(*title.lower().replace(" ", ""))
    await until(pilot, lambda: offered(pilot) == [title])
    await pilot.press("enter")


def free(bench: Bench, session_id: int) -> bool:
    with Store.open(bench.db) as store:
        try:
            store.locks.hold(session_id)
        except HeldError:
            return False
        return True


@pytest.mark.parametrize("how", ["resume", "session", "F4"])
async def test_a_conversation_that_is_open_elsewhere_is_asked_about(bench: Bench, other: Store, how: str) -> None:
    """By --resume, by --session and by F4; Esc leaves a new conversation, and the other one as it is."""
    arguments = {"resume": {"resume": True}, "session": {"session": "trip"}, "F4": {}}[how]
    async with bench.app(**arguments).run_test() as pilot:
        if how == "F4":
            await ready(pilot)
            await choose_in_list(pilot, "trip")
        assert "Open in swachat ask (process " in await asked(pilot)
        await pilot.press("escape")
        await ready(pilot)
        assert spoken(pilot) == []
        await say(pilot, "Mine")
        await ready(pilot)
    assert [said.text for said in other.path(1)] == SAID
    assert bench.stored()[0][2] == "Mine"


async def test_waiting_ends_when_the_other_program_does(bench: Bench, other: Store) -> None:
    """What that one has stored meanwhile is there, and this chat goes on from it, in one line."""
    async with bench.app(session="trip").run_test() as pilot:
        await asked(pilot)
        await choose(pilot, "wait")
        await until(pilot, lambda: isinstance(pilot.app.screen, Waiting))
        other.add_message(1, parent_id=2, turn=2, role="user", text="One more")
        await pilot.pause(0.3)
        assert spoken(pilot) == []
        other.close()
        await until(pilot, lambda: spoken(pilot)[:3] == [*SAID, "One more"])
        await ready(pilot)
        assert [message.text for message in bench.of(Open)[-1].messages] == [*SAID, "One more"]
        await say(pilot, "Mine")
        await ready(pilot)
        assert not free(bench, 1)
    with Store.open(bench.db) as store:
        assert len(store.tree(1)) == len(store.path(1)) == 5
    assert free(bench, 1)


async def test_waiting_can_be_given_up(bench: Bench, other: Store) -> None:
    async with bench.app(session="trip").run_test() as pilot:
        await asked(pilot)
        await choose(pilot, "wait")
        await until(pilot, lambda: isinstance(pilot.app.screen, Waiting))
        await pilot.press("escape")
        other.close()
        await pilot.pause(0.4)
        assert spoken(pilot) == []
        assert free(bench, 1)


async def test_reading_shows_it_and_changes_nothing(bench: Bench, other: Store) -> None:
    """A message comes back into the prompt with the reason; so with all that would change the conversation."""
    bench.keeps_caches = True
    async with bench.app(session="trip").run_test() as pilot:
        await asked(pilot)
        await choose(pilot, "read")
        await until(pilot, lambda: spoken(pilot)[:2] == SAID)
        await ready(pilot)
        assert "trip · read-only" in str(chat_screen(pilot).query_one("#prompt").border_title)
        before = other.export(1)
        await say(pilot, "Mine")
        await until(pilot, lambda: draft(pilot) == "Mine")
        assert "can only be read: it is open in swachat ask (process " in list(notices(pilot))[-1]
        await pilot.press("ctrl+t", "ctrl+r")
        for command in ("/pin 1", "/edit 1", "/rename other", "/branch 1"):
            chat_screen(pilot).query_one(Prompt).load_text("")
            await say(pilot, command)
            await pilot.pause()
        assert not any("no reply to" in line for line in notices(pilot))
        assert bench.of(Send) == []
        # It is opened again, now that it is free, and can be written to.
        other.locks.release(1)
        await choose_in_list(pilot, "trip")
        await until(pilot, lambda: not free(bench, 1))
        assert other.export(1) == before
        await ready(pilot)
        await say(pilot, "Mine")
        await ready(pilot)
        assert [row[2] for row in bench.stored()][:3] == [*SAID, "Mine"]


async def test_a_conversation_that_is_only_read_saves_no_cache(bench: Bench, other: Store) -> None:
    """It would replace that of the program that writes to it."""
    bench.keeps_caches = True
    async with bench.app(session="trip").run_test() as pilot:
        await asked(pilot)
        await choose(pilot, "read")
        await until(pilot, lambda: spoken(pilot)[:2] == SAID)
        await ready(pilot)
    assert bench.of(Save) == []


async def test_a_branch_goes_on_apart(bench: Bench, other: Store) -> None:
    async with bench.app(resume=True).run_test() as pilot:
        await asked(pilot)
        await choose(pilot, "branch")
        await until(pilot, lambda: spoken(pilot)[:2] == SAID)
        await ready(pilot)
        assert any("new conversation" in line for line in notices(pilot))
        await say(pilot, "Mine")
        await ready(pilot)
    assert [said.text for said in other.path(1)] == SAID
    assert [row[2] for row in bench.stored()][:3] == [*SAID, "Mine"]
    assert len(other.sessions()) == 2


async def test_what_was_sent_before_the_question_waits_for_the_answer(bench: Bench, other: Store) -> None:
    """It was meant for the conversation that was asked for."""
    go = threading.Event()

    def slow_store() -> Store:
        go.wait(10)
        return Store.open(bench.db)

    bench.open_store = slow_store
    async with bench.app(session="trip").run_test() as pilot:
        await say(pilot, "early")
        await pilot.pause()
        go.set()
        await asked(pilot)
        assert draft(pilot) == "early"
        await choose(pilot, "branch")
        await until(pilot, lambda: spoken(pilot)[:2] == SAID)
        assert draft(pilot) == "early"


async def test_two_chats_hold_what_they_show(bench: Bench, tmp_path: Path) -> None:
    """From the first message of a new conversation on, until another one is shown."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await ready(pilot)
        assert not free(bench, 1)
        await pilot.press("ctrl+n")
        await until(pilot, lambda: spoken(pilot) == [])
        assert free(bench, 1)
        await ready(pilot)
        await say(pilot, "second")
        await ready(pilot)
        assert not free(bench, 2)
    assert free(bench, 2)


async def test_a_conversation_whose_lock_cannot_be_made_can_be_read(bench: Bench, other: Store) -> None:
    """A folder in the way of the lock stands for a place that is read-only."""
    other.close()
    (bench.folder / "swachat.db-1.lock").mkdir()
    async with bench.app(session="trip").run_test() as pilot:
        await ready(pilot)
        assert spoken(pilot)[:2] == SAID
        assert "This conversation can only be read. Cannot lock conversation 1" in next(iter(notices(pilot)))
        await say(pilot, "Mine")
        await until(pilot, lambda: draft(pilot) == "Mine")
        assert phase(pilot) is Phase.IDLE


async def test_f4_asks_nothing_while_a_reply_grows(bench: Bench, other: Store) -> None:
    """The reply has to be stopped first, as for any other conversation."""
    bench.scripts = [Script(replies=("word " * 90,), hold_after=20)]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Go on")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        await choose_in_list(pilot, "trip")
        await until(pilot, lambda: any("Stop the reply first" in line for line in notices(pilot)))
        await pilot.press("escape")


async def test_a_name_that_another_program_has_used_in_the_meantime(bench: Bench) -> None:
    """Two chats are started for a conversation that does not exist yet: the second one gets the question too."""
    async with bench.app(session="trip").run_test() as pilot:
        await ready(pilot)
        with Store.open(bench.db) as other:
            other.new_session(model="starter", system=None, settings={}, name="trip", hold=True)
            await say(pilot, "Mine")
            await asked(pilot)
            await pilot.press("escape")
            await until(pilot, lambda: draft(pilot) == "Mine")
        await pilot.press("enter")
        await until(pilot, lambda: draft(pilot) == "Mine" and not free(bench, 1))
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
        assert bench.stored()[0][2] == "Mine"
