"""What was typed or queued and not sent comes back with its conversation: after Ctrl+Q, after Esc, after a kill."""

from pathlib import Path

import pytest
from textual.pilot import Pilot

from chatapp.chat.view import Phase
from chatapp.errors import StoreError
from chatapp.protocol.commands import Send
from chatapp.store import Store
from chatapp.store.drafts import Drafts
from chatapp.ui.widgets.prompt import Prompt
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, chat_screen, draft, notices, phase, ready, say, spoken, until

HELD = Script(replies=("word " * 90,), hold_after=20)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def kept(bench: Bench) -> list[str]:
    """All drafts in the store, as they are typed."""
    with Store.open(bench.db) as store:
        found = [store.drafts.read(session.id) for session in store.sessions()]
        adopted = store.drafts.adopt(None)
    return [text for text in (*found, adopted.text if adopted else "") if text]


def type_in(pilot: Pilot[None], text: str) -> None:
    chat_screen(pilot).query_one(Prompt).insert(text)


async def test_a_draft_comes_back_with_its_conversation(bench: Bench) -> None:
    """Each has its own, and that of a conversation that has no message yet waits for the next one."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        type_in(pilot, "of the first")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: spoken(pilot) == [])
        assert draft(pilot) == ""
        type_in(pilot, "of none")
        await pilot.press("ctrl+q")
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        await until(pilot, lambda: draft(pilot) == "of the first")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: draft(pilot) == "of none")
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: draft(pilot) == "of none")
        await ready(pilot)
        await pilot.press("enter")
        await ready(pilot)
    assert kept(bench) == ["of the first"]


async def test_what_is_typed_is_stored_while_it_is_typed(bench: Bench) -> None:
    """A program that ends without a word leaves it; two do not take each other's; an empty prompt keeps none."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        type_in(pilot, "draft")
        await pilot.pause(0.6)
        assert kept(bench) == [], "it is held here"
    assert kept(bench) == ["draft"]
    async with bench.app().run_test() as pilot:
        await until(pilot, lambda: draft(pilot) == "draft")
        chat_screen(pilot).query_one(Prompt).load_text("")
        await pilot.pause(0.6)
    assert kept(bench) == []


async def test_queued_messages_are_stored(bench: Bench) -> None:
    """With what is typed behind them, in the order in which they would be sent."""
    bench.scripts = [HELD]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        await say(pilot, "second")
        await say(pilot, "third")
        type_in(pilot, "draft")
        await until(pilot, lambda: kept(bench) == ["second\nthird\ndraft"])
        bench.engines[0].release()
        await until(pilot, lambda: len(bench.of(Send)) == 2)
        await until(pilot, lambda: kept(bench) == ["third\ndraft"])
        await pilot.press("escape")
        await ready(pilot)
        assert draft(pilot) == "third\ndraft"
        await pilot.press("ctrl+q")
    assert kept(bench) == ["third\ndraft"]
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        await until(pilot, lambda: draft(pilot) == "third\ndraft")
        assert len(bench.of(Send)) == 2, "nothing is sent unasked"


async def test_ctrl_q_during_a_reply_keeps_the_queue(bench: Bench) -> None:
    bench.scripts = [HELD]
    bench.keeps_caches = True
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await until(pilot, lambda: phase(pilot) is Phase.REPLYING)
        await say(pilot, "second")
        await pilot.press("ctrl+q")
    assert kept(bench) == ["second"]


async def test_looking_through_earlier_messages_and_editing_keeps_the_draft(bench: Bench) -> None:
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        type_in(pilot, "draft")
        await pilot.press("up")
        assert draft(pilot) == "Hello"
        await until(pilot, lambda: kept(bench) == ["draft"])
        await pilot.press("down")
        await say(pilot, "")  # sent, so that the prompt is free for a command
        await ready(pilot)
        type_in(pilot, "/edit 1")
        await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: draft(pilot) == "Hello")
        type_in(pilot, " you")
        await until(pilot, lambda: kept(bench) == ["Hello you"])


async def test_what_was_sent_does_not_come_back(bench: Bench) -> None:
    """Killed after the message was stored and before its draft was deleted."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
    with Store.open(bench.db) as store:
        store.drafts.write(1, "first\nsecond\nthird")
        head = store.path(1)[-1].id
        asked = store.add_message(1, parent_id=head, turn=2, role="user", text="first")
        store.add_message(1, parent_id=asked, turn=3, role="user", text="second")
        assert store.drafts.read(1) == "third"
        store.add_message(1, parent_id=asked, turn=3, role="user", text="third")
        assert store.drafts.read(1) == ""
        store.drafts.write_unbegun(None, None, "new")
        store.new_session(model="m", system=None, settings={}, name="new")
        store.add_message(2, parent_id=None, turn=1, role="user", text="new")
        assert store.drafts.adopt(None) is None


async def test_a_draft_that_cannot_be_stored_is_told_once_and_not_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a full disk: one line; what was typed stays in the prompt, also when another conversation is shown."""
    full = [True]
    write = Drafts.write

    def refuse(self: Drafts, session_id: int, text: str) -> None:
        if full[0] and text:
            raise StoreError("The disk is full.", "Free some space.")
        write(self, session_id, text)

    monkeypatch.setattr(Drafts, "write", refuse)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        type_in(pilot, "draft")
        await until(pilot, lambda: any("disk is full" in line for line in notices(pilot)))
        await pilot.pause(0.6)
        assert len([line for line in notices(pilot) if "disk is full" in line]) == 1
        await pilot.press("ctrl+n")
        await until(pilot, lambda: draft(pilot) == "draft")


async def test_a_deleted_conversation_takes_its_draft_with_it(bench: Bench) -> None:
    with Store.open(bench.db) as store:
        session = store.new_session(model="m", system=None, settings={}).id
        store.drafts.write(session, "secretword")
        store.delete_session(session)
        assert store.drafts.read(session) == ""
    assert not any(b"secretword" in file.read_bytes() for file in bench.folder.iterdir())
