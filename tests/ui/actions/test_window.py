"""Pins, recall and edits through the chat's keys, on a scripted engine and a real store."""

from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import OptionList, Static

from chatapp.chat.view import Phase
from chatapp.errors import StoreError
from chatapp.presentation.visibility import Visibility
from chatapp.protocol.commands import Cancel, Open, Pin, Recall, Send
from chatapp.store import Store
from chatapp.ui.dialogs.ask import AskYes
from chatapp.ui.dialogs.chooser import Chooser
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.status import ProgressLine
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import (
    Bench,
    chat_screen,
    draft,
    notices,
    phase,
    ready,
    say,
    shown,
    spoken,
    transcript,
    until,
)

LONG = Script(replies=("word " * 60,), n_ctx=256)
"""Four turns of 66 tokens do not fit: the first leaves."""
TOPICS = ("whales sing", "mountains rise", "rivers run", "clouds drift")


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [LONG])


async def talk(pilot: Pilot[None], turns: int = 4) -> None:
    """A conversation whose first turn has left, where it has four."""
    await ready(pilot)
    for topic in TOPICS[:turns]:
        await say(pilot, topic)
        await ready(pilot)


def visibility(pilot: Pilot[None]) -> dict[int, Visibility]:
    """How each turn's message of the person stands."""
    return {view.said.turn: view.visibility for view in shown(pilot) if view.said.role == "user"}


def pinned(bench: Bench) -> list[int]:
    """The turns that the store keeps as pinned."""
    with Store.open(bench.db) as store:
        return [message.turn for message in store.path(1) if message.pinned]


def border(pilot: Pilot[None]) -> str:
    """What stands in the prompt's lower border."""
    return str(chat_screen(pilot).query_one(Prompt).border_subtitle)


async def test_a_pinned_turn_stays_is_stored_and_is_pinned_again_after_a_restart(bench: Bench) -> None:
    """/pin 1; three more turns push nothing of it out; F5 and a resume give it back to the engine."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 1)
        await say(pilot, "/pin 1")
        await until(pilot, lambda: any("Turn 1 is pinned" in line for line in notices(pilot)))
        assert bench.of(Pin) == [Pin(turn=1, pinned=True)]
        assert pinned(bench) == [1]
        for topic in TOPICS[1:]:
            await say(pilot, topic)
            await ready(pilot)
        assert visibility(pilot)[1] is Visibility.PINNED
        assert visibility(pilot)[2] is Visibility.EVICTED
        assert "pinned" in str(shown(pilot)[0].query_one(".head").render())
        await pilot.press("f5")
        await until(pilot, lambda: len(bench.of(Open)) == 2)
        await ready(pilot)
        assert bench.of(Open)[-1].pinned == [1]
        assert visibility(pilot)[1] is Visibility.PINNED
    async with bench.app(resume=True).run_test() as pilot:
        await ready(pilot)
        assert bench.of(Open)[-1].pinned == [1]


async def test_p_pins_and_unpins_the_chosen_turn(bench: Bench) -> None:
    """The prompt's border says which of the two it does."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 2)
        await pilot.press("f8", "up", "up", "up")
        assert "p pin" in border(pilot)
        await pilot.press("p")
        await until(pilot, lambda: pinned(bench) == [1])
        await until(pilot, lambda: "p unpin" in border(pilot))
        await pilot.press("p")
        await until(pilot, lambda: pinned(bench) == [])
        await until(pilot, lambda: visibility(pilot)[1] is Visibility.WINDOW)
        assert [(pin.turn, pin.pinned) for pin in bench.of(Pin)] == [(1, True), (1, False)]
        await pilot.press("escape")
        assert border(pilot) == ""


async def test_a_pin_that_leaves_too_little_room_is_refused_with_the_numbers(bench: Bench) -> None:
    """What the engine says is shown as it is; the store does not have the pin, and the chat goes on."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 3)
        for turn in (1, 2, 3):
            await say(pilot, f"/pin {turn}")
            await ready(pilot)
        last = list(notices(pilot))[-1]
        assert last.startswith("Turn 3 takes 65 tokens. With 4 sinks and 132 pinned tokens, 201 of 256")
        assert pinned(bench) == [1, 2]
        await say(pilot, "/unpin 2")
        await until(pilot, lambda: pinned(bench) == [1])


async def asked(pilot: Pilot[None]) -> str:
    """The question before a recall that would evict."""
    await until(pilot, lambda: isinstance(pilot.app.screen, AskYes))
    return str(pilot.app.screen.query_one(".address", Static).render())


async def test_an_evicted_turn_is_recalled_and_then_pinned(bench: Bench) -> None:
    """Two commands, in this order, and a word about it."""
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        assert visibility(pilot)[1] is Visibility.EVICTED
        await say(pilot, "/pin 1")
        assert await asked(pilot) == "Recalling turn 1 takes 66 tokens and evicts turn 2."
        await pilot.press("enter")
        await until(pilot, lambda: pinned(bench) == [1])
        assert [type(command) for command in bench.posted if isinstance(command, Pin | Recall)] == [Recall, Recall, Pin]
        assert "Turn 1 was evicted: recalling it, then pinning it." in list(notices(pilot))
        await until(pilot, lambda: visibility(pilot)[1] is Visibility.PINNED)


async def test_a_pin_that_the_engine_gives_up_is_told_and_forgotten(bench: Bench) -> None:
    """Else the next start would ask for what cannot be."""
    bench.scripts = [Script(lets_go_in_turn=2)]
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "first")
        await ready(pilot)
        await say(pilot, "/pin")
        await until(pilot, lambda: pinned(bench) == [1])
        await say(pilot, "second")
        await ready(pilot)
        assert "Turn 1 is no longer pinned: the window has no room left for it." in list(notices(pilot))
        assert pinned(bench) == []


async def test_a_pin_that_cannot_be_stored_is_told_and_the_chat_goes_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine is told to undo it, so that it has what the store has."""

    def refuse(self: Store, message_id: int, pinned: bool) -> None:
        raise StoreError("The disk is full.", "Free some space.")

    monkeypatch.setattr(Store, "set_pinned", refuse)
    async with bench.app().run_test() as pilot:
        await talk(pilot, 1)
        await say(pilot, "/pin")
        await until(pilot, lambda: any("disk is full" in line for line in notices(pilot)))
        await ready(pilot)
        assert visibility(pilot)[1] is Visibility.WINDOW
        assert [pin.pinned for pin in bench.of(Pin)] == [True, False]
        await say(pilot, "more")
        await ready(pilot)
        assert len(bench.of(Send)) == 2


async def test_what_cannot_be_pinned_is_said_and_asks_the_engine_for_nothing(bench: Bench) -> None:
    """A turn that is not there, a word that is no number, a turn that is pinned or not pinned already."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 1)
        for command, words in (
            ("/pin 9", "There is no turn 9. The turns are 1 to 1."),
            ("/pin first", "first is not a turn number. Give a number: /pin 3."),
            ("/unpin 1", "Turn 1 is not pinned."),
            ("/recall 1", "Turn 1 is already in the window."),
            ("/recall anything", "Nothing has been evicted, so there is nothing to recall."),
        ):
            await say(pilot, command)
            await until(pilot, lambda words=words: list(notices(pilot))[-1:] == [words])
        assert bench.of(Pin) == bench.of(Recall) == []


async def test_recall_finds_what_has_left_by_its_words_and_brings_it_back(bench: Bench) -> None:
    """/recall WORDS lists the turns; what is in the window cannot be taken; Enter posts the choice."""
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        await say(pilot, "/recall word")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser) and rows(pilot) != [])
        found = rows(pilot)
        assert found[0].startswith("○ turn 1 · 66 tokens")
        assert all("already in the window" in row for row in found[1:])
        assert len(found) == 4
        await pilot.press("enter")
        await asked(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.of(Recall)) == 2)
        assert [(command.turns, command.agreed) for command in bench.of(Recall)] == [([1], False), ([1], True)]
        await ready(pilot)
        assert visibility(pilot)[1] is Visibility.RECALLED
        assert "recalled" in str(shown(pilot)[0].query_one(".head").render())
        assert any(line.startswith("Turn 1 is back in the window: 66 tokens") for line in notices(pilot))
        left = [line for line in notices(pilot) if " evicted: " in line]
        assert [line.split(":")[0] for line in left] == ["Turn 1 was evicted", "Turn 2 was evicted"]


async def test_a_recall_that_would_evict_is_not_done_unasked(bench: Bench) -> None:
    """Esc leaves the cache as it is, and the pin that was to follow is forgotten."""
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        before = visibility(pilot)
        await say(pilot, "/pin 1")
        await asked(pilot)
        await pilot.press("escape")
        await ready(pilot)
        assert visibility(pilot) == before
        assert pinned(bench) == []
        await say(pilot, "/recall 1")
        await asked(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: visibility(pilot)[1] is Visibility.RECALLED)
        assert bench.of(Pin) == []


async def test_several_turns_are_marked_with_tab_and_recalled_together(bench: Bench) -> None:
    """Marks stay while other words are searched for."""
    bench.scripts = [Script(replies=("word " * 20,), n_ctx=128)]
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        await say(pilot, "more")
        await ready(pilot)
        gone = [turn for turn, stands in visibility(pilot).items() if stands is Visibility.EVICTED]
        assert len(gone) >= 2
        await pilot.press("f7")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser) and len(rows(pilot)) == len(gone))
        await pilot.press(*"whales")
        await until(pilot, lambda: len(rows(pilot)) == 1)
        await pilot.press("tab", *["backspace"] * 6, *"mountains")
        await until(pilot, lambda: len(rows(pilot)) == 2 and "mountains" in rows(pilot)[1])
        assert rows(pilot)[0].startswith("● turn 1")
        await pilot.press("down", "tab", "enter")
        await until(pilot, lambda: len(bench.of(Recall)) == 1)
        assert bench.of(Recall)[0].turns == [1, 2]


async def test_words_that_nothing_evicted_has_are_said_in_the_list(bench: Bench) -> None:
    """And Enter takes nothing."""
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        await say(pilot, "/recall xylophone")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        nothing = pilot.app.screen.query_one(".nothing", Static)
        await until(pilot, lambda: bool(nothing.display))
        await pilot.press("enter", "escape")
        await until(pilot, lambda: pilot.app.screen is chat_screen(pilot))
        assert bench.of(Recall) == []


async def test_turns_of_other_branches_are_not_offered(bench: Bench) -> None:
    """The search covers the whole session; only what belongs to the shown branch can come back."""
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        await say(pilot, "/branch 1")
        await ready(pilot)
        for topic in ("deserts", "forests", "oceans"):
            await say(pilot, topic)
            await ready(pilot)
        await say(pilot, "/recall mountains")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        await until(pilot, lambda: bool(pilot.app.screen.query_one(".nothing").display))
        assert rows(pilot) == []


async def test_escape_stops_a_recall(bench: Bench) -> None:
    """A progress bar says how far it is; the engine is told to cancel, and the turn is out of the window as before."""
    bench.scripts = [Script(replies=LONG.replies, n_ctx=256, hold_recall=True, chunk_tok=32)]
    async with bench.app().run_test() as pilot:
        await talk(pilot)
        await say(pilot, "/recall 1")
        await asked(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: phase(pilot) is Phase.RECALLING)
        line = chat_screen(pilot).query_one(ProgressLine)
        await until(pilot, lambda: "/67 tokens · Esc stops" in str(line.render()))
        await pilot.press("escape")
        await ready(pilot)
        assert len(bench.of(Cancel)) == 1
        assert "Stopped." in list(notices(pilot))
        assert visibility(pilot)[1] is Visibility.EVICTED
        await say(pilot, "go on")
        await ready(pilot)
        assert bench.stored()[-1][3] == "done"


async def test_an_edit_changes_nothing_until_it_is_sent_and_escape_leaves_it(bench: Bench) -> None:
    """The message comes into the prompt, the draft that was there comes back."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 3)
        before, posted = bench.stored(), len(bench.posted)
        await pilot.press("x")
        await pilot.press("f8", "up", "up", "up", "e")
        prompt = chat_screen(pilot).query_one(Prompt)
        assert draft(pilot) == "mountains rise"
        assert prompt.has_focus
        assert "Editing turn 2" in str(prompt.border_title)
        await pilot.press("escape")
        await until(pilot, lambda: draft(pilot) == "x")
        assert str(prompt.border_title) == ""
        assert bench.stored() == before
        assert [
            type(command).__name__ for command in bench.posted[posted:] if type(command).__name__ != "Forecast"
        ] == []


async def test_an_edited_message_goes_on_from_before_it(bench: Bench) -> None:
    """The engine gets the turns before, then the new words as that turn; the old branch stays stored."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 3)
        await say(pilot, "/edit 2")
        await until(pilot, lambda: draft(pilot) == "mountains rise")
        prompt = chat_screen(pilot).query_one(Prompt)
        prompt.insert(" and fall")
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.of(Send)) == 4)
        await ready(pilot)
        assert {message.turn for message in bench.of(Open)[-1].messages} == {1}
        assert (bench.of(Send)[-1].turn, bench.of(Send)[-1].text) == (2, "mountains rise and fall")
        assert [row[2] for row in bench.stored()][::2] == ["whales sing", "mountains rise and fall"]
        assert "rivers run" not in spoken(pilot)
        with Store.open(bench.db) as store:
            assert len(store.tree(1)) == 8
        assert "‹2/2›" in str(shown(pilot)[2].query_one(".head").render())
        assert not [line for line in notices(pilot) if "Rolled back" in line or "holds 1 turn" in line], (
            "it cost nothing"
        )


async def test_typing_in_the_transcript_goes_to_the_prompt(bench: Bench) -> None:
    """A click beside the messages takes the focus; what is typed must not get lost."""
    async with bench.app().run_test() as pilot:
        await talk(pilot, 1)
        transcript(pilot).focus()
        await pilot.press("p", "e", "a")
        assert draft(pilot) == "pea"
        assert bench.of(Pin) == []


def rows(pilot: Pilot[None]) -> list[str]:
    """What the chooser lists."""
    choices = pilot.app.screen.query_one(OptionList)
    return [str(choices.get_option_at_index(index).prompt) for index in range(choices.option_count)]
