"""Branches and alternatives: as pure functions of a tree, and through the chat's keys."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList

from chatapp.chat.branch_tree import branches, newest_end, way_to
from chatapp.protocol.commands import Open, Send
from chatapp.store import Store, StoredMessage
from chatapp.ui.dialogs.branches import branch_choices
from chatapp.ui.dialogs.chooser import Chooser
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import (
    Bench,
    notices,
    ready,
    say,
    shown,
    spoken,
    transcript,
    until,
)

REPLIES = Script(replies=("one", "two", "three"))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [REPLIES])


def tree(tmp_path: Path) -> tuple[list[StoredMessage], dict[str, int]]:
    """Question a, two replies; after the second b and its reply; another beginning c; a reply that never began."""
    with Store.open(tmp_path / "chat.db") as store:
        session = store.new_session(model="m", system=None, settings={}).id
        ids: dict[str, int] = {}
        for name, parent, turn, role, text in (
            ("a", None, 1, "user", "question"),
            ("a1", "a", 1, "assistant", "first reply"),
            ("a2", "a", 1, "assistant", "second reply"),
            ("b", "a2", 2, "user", "more"),
            ("b1", "b", 2, "assistant", "and more"),
            ("c", None, 1, "user", "another question"),
            ("a3", "a", 1, "assistant", ""),
        ):
            above = None if parent is None else ids[parent]
            at = "assistant" if role == "assistant" else "user"
            ids[name] = store.add_message(session, parent_id=above, turn=turn, role=at, text=text, state="stopped")
        return store.tree(session), ids


def test_the_branches_are_the_ways_to_the_last_messages(tmp_path: Path) -> None:
    """The shown one comes first, then the newest; a reply without a word beside others is none."""
    messages, ids = tree(tmp_path)
    found = branches(messages, ids["b1"])
    assert [branch.last.id for branch in found] == [ids["b1"], ids["c"], ids["a1"]]
    assert [branch.shown for branch in found] == [True, False, False]
    assert [branch.shared for branch in found] == [4, 0, 1]
    assert [branch.own.id for branch in found] == [ids["b1"], ids["c"], ids["a1"]]


def test_a_head_that_messages_follow_is_a_branch_too(tmp_path: Path) -> None:
    """Where the person went back and has said nothing since, what is shown must be in the list."""
    messages, ids = tree(tmp_path)
    found = branches(messages, ids["a2"])
    assert [branch.last.id for branch in found] == [ids["a2"], ids["c"], ids["b1"], ids["a1"]]
    assert found[2].own.id == ids["b"]
    assert [branch.last.id for branch in branches(messages, None)] == [ids["c"], ids["b1"], ids["a1"]]


def test_an_alternative_leads_to_the_newest_end_behind_it(tmp_path: Path) -> None:
    """So that going to another reply shows all that was said after it."""
    messages, ids = tree(tmp_path)
    assert newest_end(messages, ids["a2"]) == ids["b1"]
    assert newest_end(messages, ids["a1"]) == ids["a1"]
    assert newest_end(messages, ids["a"]) == ids["b1"]
    by_id = {message.id: message for message in messages}
    assert [message.id for message in way_to(by_id, ids["b1"])] == [ids["a"], ids["a2"], ids["b"], ids["b1"]]


def test_each_branch_says_where_it_parts_with_which_words_and_how_old_it_is(tmp_path: Path) -> None:
    messages, ids = tree(tmp_path)
    now = (messages[-1].created_at or 0) + 2 * 3600
    choices = branch_choices(branches(messages, ids["b1"]), now)
    assert [choice.title for choice in choices] == [
        "current, up to turn 2: and more",
        "turn 1, you: another question",
        "turn 1, reply: first reply",
    ]
    assert [choice.note for choice in choices] == [
        "2 turns · 2 h ago", "1 turn · 2 h ago", "1 turn · turn 1 shared · 2 h ago",
    ]  # fmt: skip


def test_branches_that_part_at_the_same_message_are_told_apart_by_how_they_end(tmp_path: Path) -> None:
    """Two replies to one message of another branch begin alike."""
    messages, ids = tree(tmp_path)
    notes = [choice.note for choice in branch_choices(branches(messages, ids["c"]), messages[-1].created_at or 0)]
    assert notes[1:] == ["2 turns · just now · ends with: and more", "1 turn · just now · ends with: first reply"]


async def test_branching_off_keeps_both_branches_and_the_list_leads_back(bench: Bench) -> None:
    """/branch 1 and a message; F6 lists two; Enter on the other one shows it, and the engine processes nothing."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, "first", "second", "third")
        await say(pilot, "/branch 1")
        await ready(pilot)
        assert texts(pilot) == ["first", "one"]
        assert len(bench.stored()) == 2
        await say(pilot, "elsewhere")
        await ready(pilot)
        assert bench.of(Send)[-1].turn == 2
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        assert [row.splitlines()[0] for row in rows(pilot)] == [
            "current, up to turn 2: two",
            "turn 2, you: second",
        ]
        await pilot.press("down", "enter")
        await until(pilot, lambda: "third" in texts(pilot))
        await ready(pilot)
        assert texts(pilot) == ["first", "one", "second", "two", "third", "three"]
        assert [row[2] for row in bench.stored()] == texts(pilot)
        assert [message.text for message in bench.of(Open)[-1].messages] == texts(pilot)
        assert not notices(pilot), "what is processed again is told, and nothing was"


async def test_a_branch_brings_its_own_pins(bench: Bench) -> None:
    """A pin belongs to the message, not to the number of the turn."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, "first", "second")
        await say(pilot, "/pin 2")
        await ready(pilot)
        await say(pilot, "/branch 1")
        await ready(pilot)
        assert bench.of(Open)[-1].pinned == []
        await say(pilot, "elsewhere")
        await ready(pilot)
        await pilot.press("f6")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        await pilot.press("down", "enter")
        await until(pilot, lambda: bench.of(Open)[-1].pinned == [2])


async def test_brackets_go_through_the_alternatives_of_a_reply(bench: Bench) -> None:
    """Regenerate twice: 3/3; [ and ] show the others, the message stays chosen, and the engine gets each branch."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, "first")
        for script in ("again", "and again"):
            bench.engines[0].script = Script(replies=(script,))
            await pilot.press("ctrl+r")
            await ready(pilot)
            await until(pilot, lambda script=script: script in texts(pilot))
        assert head(pilot, 1) == "Model  1  ‹3/3›"
        await pilot.press("f8", "left_square_bracket")
        await until(pilot, lambda: texts(pilot) == ["first", "again"])
        await until(pilot, lambda: transcript(pilot).chosen is not None)
        assert head(pilot, 1) == "▸ Model  1  ‹2/3›"
        await pilot.press("right_square_bracket", "right_square_bracket")
        await ready(pilot)
        await until(pilot, lambda: texts(pilot) == ["first", "one"])
        assert head(pilot, 1) == "▸ Model  1  ‹1/3›"
        await ready(pilot)
        await pilot.press("escape")
        await say(pilot, "/alternative next")
        await until(pilot, lambda: texts(pilot) == ["first", "again"])
        assert bench.of(Open)[-1].messages[1].text == "again"
        await say(pilot, "/alternative sideways")
        await until(pilot, lambda: "/alternative takes next or previous, not sideways." in list(notices(pilot)))


async def test_one_branch_and_no_alternative_are_said(bench: Bench) -> None:
    """Nothing is opened, and the engine is asked for nothing."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, "first")
        for keys, words in (
            (("f6",), "This conversation has only one branch. Edit, undo or regenerate starts another."),
            (("f8", "right_square_bracket"), "This message has no alternatives."),
            (("f8", "g"), "Turn 1 is the last one: your next message continues from it."),
        ):
            await pilot.press(*keys)
            await until(pilot, lambda words=words: list(notices(pilot))[-1:] == [words])
        assert len(bench.of(Open)) == 1


async def talk(pilot: Pilot[None], *messages: str) -> None:
    """Say these, one after the other."""
    await ready(pilot)
    for text in messages:
        await say(pilot, text)
        await ready(pilot)


def texts(pilot: Pilot[None]) -> list[str]:
    """What was said, without the notices."""
    told = list(notices(pilot))
    return [text for text in spoken(pilot) if text not in told]


def head(pilot: Pilot[None], index: int) -> str:
    """What stands beside the name of a message."""
    return str(shown(pilot)[index].query_one(".head").render())


def rows(pilot: Pilot[None]) -> list[str]:
    """What the chooser lists."""
    choices = pilot.app.screen.query_one(OptionList)
    return [str(choices.get_option_at_index(index).prompt) for index in range(choices.option_count)]
