"""Copying, themes, the inspector, the store that shrugs: what the other actions do."""

from pathlib import Path

import pytest

from chatapp.ui.dialogs.chooser import Chooser
from chatapp.ui.widgets.inspector.inspector import Inspector
from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
from chatapp.ui.widgets.prompt import Prompt
from tests.support.fake_engine.script import Script
from tests.support.ui.chat_app import Bench, chat_screen, notices, ready, say, transcript, until

CODE = "Try this:\n\n```sh\necho \x1b[31mhi\n```\n"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path, [Script(replies=(CODE, "No code here."))])


async def test_a_reply_and_its_code_are_copied(bench: Bench) -> None:
    """Ctrl+G takes the last reply, /code its code block; what would act in a shell's terminal is made visible."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Code, please")
        await ready(pilot)
        await pilot.press("ctrl+g")
        assert pilot.app.clipboard == CODE.replace("\x1b", "␛")
        await say(pilot, "/code")
        await until(pilot, lambda: pilot.app.clipboard == "echo ␛[31mhi")


async def test_a_chosen_message_is_copied(bench: Bench) -> None:
    """F8, Up to the person's own message, c; Escape goes back to the prompt."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Code, please")
        await ready(pilot)
        await pilot.press("f8", "up", "c")
        assert pilot.app.clipboard == "Code, please"
        await pilot.press("b")
        assert pilot.app.clipboard == "Code, please"
        await pilot.press("down", "b")
        assert pilot.app.clipboard == "echo ␛[31mhi"
        await pilot.press("escape")
        assert transcript(pilot).chosen is None
        assert chat_screen(pilot).query_one(Prompt).has_focus


async def test_nothing_to_copy_is_no_error(bench: Bench) -> None:
    """The clipboard is left alone."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("ctrl+g")
        assert pilot.app.clipboard == ""


async def test_nothing_to_undo_or_regenerate_is_said(bench: Bench) -> None:
    """And the engine is asked for nothing."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        before = len(bench.posted)
        await pilot.press("ctrl+t", "ctrl+r")
        await until(pilot, lambda: len(list(notices(pilot))) == 2)
        assert list(notices(pilot)) == ["There is no turn to undo.", "There is no reply to regenerate."]
        assert len(bench.posted) == before


async def test_themes_change_at_a_key_by_name_and_in_the_chooser(bench: Bench) -> None:
    """F3 and Shift+F3 step; /theme NAME takes one; in the chooser each is seen at once, and Escape goes back."""
    app = bench.app()
    async with app.run_test() as pilot:
        await ready(pilot)
        first = app.theme
        await pilot.press("f3")
        assert app.theme != first
        await pilot.press("shift+f3")
        assert app.theme == first
        await say(pilot, "/theme fjord")
        await until(pilot, lambda: app.theme == "fjord")
        await say(pilot, "/theme fjrod")
        await until(pilot, lambda: "There is no theme fjrod. Did you mean fjord?" in list(notices(pilot)))
        await say(pilot, "/theme")
        await until(pilot, lambda: isinstance(app.screen, Chooser))
        await pilot.press("down")
        assert app.theme != "fjord"
        await pilot.press("escape")
        assert app.theme == "fjord"


async def test_the_inspector_is_beside_over_or_a_line(bench: Bench) -> None:
    """120 columns: beside, F2 hides it. 80 columns: a line, F2 opens it over the chat and Escape closes it."""
    async with bench.app().run_test(size=(120, 36)) as pilot:
        await ready(pilot)
        screen = chat_screen(pilot)
        inspector, line = screen.query_one(Inspector), screen.query_one(InspectorLine)

        def seen() -> tuple[bool, bool]:
            return inspector.region.area > 0, line.region.area > 0

        assert seen() == (True, False)
        await pilot.press("f2")
        assert seen() == (False, False)
        await pilot.press("f2")
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: seen() == (False, True))
        await pilot.press("f2")
        assert seen() == (True, True)
        await pilot.press("escape")
        assert seen() == (False, True)


async def test_a_model_is_chosen_from_the_list_or_typed(bench: Bench) -> None:
    """Ctrl+O lists them; typing searches; a second engine loads the choice and gets the conversation."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        await pilot.press(*"gemma", "enter")
        await until(pilot, lambda: bench.remembered == ["starter", "gemma3-270m"])
        await ready(pilot)
        await say(pilot, "More")
        await ready(pilot)
        assert [row[0] for row in bench.stored()] == [1, 1, 2, 2]
        await pilot.press("ctrl+o")
        await until(pilot, lambda: isinstance(pilot.app.screen, Chooser))
        await pilot.press(*"/no/such.gguf", "enter")
        await until(pilot, lambda: any("/no/such.gguf" in line for line in notices(pilot)))
        assert len(bench.engines) == 2


async def test_a_name_stands_in_the_border_of_the_prompt(bench: Bench) -> None:
    """After /rename, and not any more after /new."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await say(pilot, "Hello")
        await ready(pilot)
        await say(pilot, "/rename whales")
        prompt = chat_screen(pilot).query_one(Prompt)
        await until(pilot, lambda: str(prompt.border_title) == "whales")
        await say(pilot, "/new")
        await until(pilot, lambda: str(prompt.border_title) == "")
