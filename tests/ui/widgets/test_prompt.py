"""The prompt: lines, history, pastes, slash commands, and the keys of terminals of all kinds."""

from pathlib import Path

import pytest
from textual import events
from textual.widgets import Static

from chatapp.config import Config
from chatapp.protocol.commands import Send
from chatapp.store import Store
from chatapp.ui.action_table import ACTIONS, completions, parse_slash, unslash
from chatapp.ui.dialogs.help import Help
from chatapp.ui.widgets.prompt import Prompt
from chatapp.ui.widgets.transcript.transcript import Transcript
from tests.support.ui.chat_app import Bench, chat_screen, draft, notices, ready, say, until


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.mark.parametrize("key", ["shift+enter", "alt+enter", "ctrl+j"])
async def test_three_keys_begin_a_new_line_and_enter_sends(bench: Bench, key: str) -> None:
    """A message of two lines goes out as it was written."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("a", key, "b", "enter")
        await until(pilot, lambda: len(bench.of(Send)) == 1)
        assert bench.of(Send)[0].text == "a\nb"


async def test_a_terminal_with_no_column_for_the_draft(bench: Bench) -> None:
    """At the start and later: what can be drawn is drawn, and the prompt comes back with the columns."""
    async with bench.app().run_test(size=(4, 30)) as pilot:
        await ready(pilot)
        for columns in (*range(1, 12), 100, 3, 100):
            await pilot.resize_terminal(columns, 30)
            await pilot.pause(0.05)
        await pilot.press("x", "enter")
        await until(pilot, lambda: len(bench.of(Send)) == 1)


async def test_up_and_down_go_through_what_was_written(bench: Bench) -> None:
    """Also through what was written before this run; the draft that was begun comes back at the end."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        for text in ("first", "second"):
            await say(pilot, text)
            await ready(pilot)
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("x", "up")
        assert draft(pilot) == "second"
        await pilot.press("up", "up")
        assert draft(pilot) == "first"
        await pilot.press("down", "down")
        assert draft(pilot) == "x"


async def test_up_inside_a_text_moves_the_cursor(bench: Bench) -> None:
    """History is reached from the first line only."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("a", "ctrl+j", "b", "up")
        assert draft(pilot) == "a\nb"


async def test_a_huge_paste_is_folded_and_sent_whole(bench: Bench) -> None:
    """The prompt shows a marker with counts; the engine and the store get every character, in its place."""
    book = "".join(f"line {number}\r\n" for number in range(20_000))
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        prompt = chat_screen(pilot).query_one(Prompt)
        prompt.insert("Sum up: ")
        prompt.post_message(events.Paste(book))
        await pilot.pause()
        await pilot.press("!")
        assert prompt.text == "Sum up: ⟦text 1: 20,001 lines, 208,890 characters⟧!"
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.of(Send)) == 1)
        whole = "Sum up: " + book.replace("\r\n", "\n") + "!"
        assert bench.of(Send)[0].text == whole
        await ready(pilot)
        assert bench.stored()[0][2] == whole
        await pilot.press("up")
        assert draft(pilot) == whole


async def test_backspace_takes_a_folded_paste_away_as_a_whole(bench: Bench) -> None:
    """Half a marker would stand for nothing."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        prompt = chat_screen(pilot).query_one(Prompt)
        prompt.post_message(events.Paste("x\n" * 100))
        await pilot.pause()
        await pilot.press("backspace")
        assert draft(pilot) == ""


async def test_slash_commands_are_completed(bench: Bench) -> None:
    """Typing /re offers them; Down and Tab take the second; one that wants a word leaves room for it."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("/", "r", "e")
        offers = chat_screen(pilot).query_one("#completions", Static)
        assert offers.display
        shown = str(offers.render())
        assert shown.index("/regenerate") < shown.index("/resume") < shown.index("/rename")
        await pilot.press("down", "down", "tab")
        assert draft(pilot) == "/rename "
        assert not offers.display


async def test_enter_runs_the_chosen_completion(bench: Bench) -> None:
    """/hel and Enter opens the help."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("/", "h", "e", "l", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))


async def test_enter_on_a_bare_slash_runs_nothing_and_keeps_the_list(bench: Bench) -> None:
    """The first command is Regenerate: nobody who has typed one slash has asked for that. Down and Enter has."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("/", "enter")
        offers = chat_screen(pilot).query_one("#completions", Static)
        assert offers.display
        assert "▸" not in str(offers.render())
        assert draft(pilot) == "/"
        assert list(notices(pilot)) == []
        await pilot.press("down", "enter")
        await until(pilot, lambda: list(notices(pilot)) == ["There is no reply to regenerate."])


async def test_escape_closes_the_list_until_something_else_is_typed(bench: Bench) -> None:
    """And does nothing else: a reply goes on."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("/", "r", "e")
        offers = chat_screen(pilot).query_one("#completions", Static)
        assert offers.display
        await pilot.press("escape")
        assert not offers.display
        assert draft(pilot) == "/re"
        await pilot.press("n")
        await until(pilot, lambda: bool(offers.display))


async def test_tab_leaves_the_prompt_where_there_is_nothing_to_complete(bench: Bench) -> None:
    """The keyboard alone reaches everything."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("tab")
        assert not chat_screen(pilot).query_one(Prompt).has_focus


async def test_an_unknown_command_is_no_message(bench: Bench) -> None:
    """One line names the nearest command; what was written comes back; nothing is sent."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "/regenrate")
        await until(pilot, lambda: draft(pilot) == "/regenrate")
        assert list(notices(pilot)) == [
            "There is no command /regenrate. Did you mean /regenerate? Type // to send a message that starts with /."
        ]
        assert bench.of(Send) == []


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("/undo", "undo"),
        ("/UNDO ", "undo"),
        ("/model hf:a/b", "model"),
        ("/usr/bin is what?", None),
        ("/ what", None),
        ("//undo", None),
        ("undo", None),
        ("/undo\nthis", None),
        ("/1", None),
    ],
)
def test_what_is_a_command_and_what_a_message(text: str, action: str | None) -> None:
    """Paths and sentences are messages."""
    parsed = parse_slash(text)
    assert (None if parsed is None else parsed[0].id) == action


def test_two_slashes_make_a_message_that_begins_with_one() -> None:
    assert unslash("//undo it") == "/undo it"
    assert unslash("// comment") == "// comment"


def test_no_key_and_no_command_means_two_things() -> None:
    """Within one place a key is one action's; all slash names differ."""
    for place in ("screen", "prompt", "transcript", "inspector", "replay"):
        keys = [key for action in ACTIONS if action.place == place for key in action.keys.split(",") if key]
        assert len(keys) == len(set(keys))
    names = [name for action in ACTIONS for name in action.slash]
    assert len(names) == len(set(names))
    assert [action.id for action in completions("/re")] == ["regenerate", "resume", "rename", "recall", "restart"]


async def test_keys_can_be_changed_and_help_shows_them(bench: Bench) -> None:
    """`keys: {undo: f9}` takes Ctrl+T away, and F1 says F9."""
    bench.config = Config.model_validate({"keys": {"undo": "f9"}})
    async with bench.app().run_test(size=(120, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.press("ctrl+t")
        assert len(bench.stored()) == 2
        await pilot.press("f9")
        await until(pilot, lambda: draft(pilot) == "Hello")
        await pilot.press("f1")
        await until(pilot, lambda: isinstance(pilot.app.screen, Help))
        rows = [[str(cell.render()) for cell in row.query(Static)] for row in pilot.app.screen.query(".row")]
        assert [keys for keys, _, names in rows if names == "/undo  undo"] == ["F9"]


async def test_the_palette_does_what_the_key_does(bench: Bench) -> None:
    """Ctrl+P, "undo", Enter."""
    async with bench.app().run_test(size=(100, 30)) as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.press("ctrl+p")
        await pilot.pause()
        await pilot.press(*"undo the")
        await pilot.pause(0.5)
        await pilot.press("down", "enter")
        await until(pilot, lambda: draft(pilot) == "Hello")


async def test_rename_and_resume_find_a_conversation_by_its_words(bench: Bench) -> None:
    """/rename gives a name; F4 finds the conversation by what was said in it, and opens it."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "About whales")
        await ready(pilot)
        await say(pilot, "/rename the sea")
        await until(pilot, lambda: any('Renamed to "the sea".' in line for line in notices(pilot)))
        await say(pilot, "/new")
        await ready(pilot)
        await say(pilot, "About mountains")
        await ready(pilot)
        await pilot.press("f4")
        await pilot.pause()
        await pilot.press(*"whales")
        await pilot.pause()
        await pilot.press("enter")
        await until(
            pilot, lambda: "About whales" in [item.text for item in chat_screen(pilot).query_one(Transcript).items]
        )
    with Store.open(bench.db) as store:
        assert store.session("the sea").title == "About whales"
