"""A long paste is one unit in the prompt: whole or gone, whatever is done, and sent as the text that was pasted."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.pilot import Pilot
from textual.widgets.text_area import Selection

from chatapp.protocol.commands import Send
from chatapp.ui.widgets.folded_pastes import FoldedPastes
from chatapp.ui.widgets.prompt import Prompt
from tests.support.ui.chat_app import Bench, chat_screen, draft, ready, until

BOOK = "\n".join(f"page {number}" for number in range(61))
MARKER = f"⟦text 1: 61 lines, {len(BOOK):,} characters⟧"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def prompt_of(pilot: Pilot[None]) -> Prompt:
    """Where the person types."""
    return chat_screen(pilot).query_one(Prompt)


async def paste(pilot: Pilot[None], text: str) -> None:
    """As a terminal reports it."""
    pilot.app.post_message(events.Paste(text))
    await pilot.pause()


CASES = (
    (("ctrl+w",), "a  b"),
    (("ctrl+u",), " b"),
    (("left", "delete"), "a  b"),
    (("left", "x"), f"a x{BOOK} b"),
    (("left", "right", "x"), f"a {BOOK}x b"),
    (("left", "ctrl+k"), "a "),
    (("backspace",), "a  b"),
    (("shift+left", "x"), "a x b"),
    (("shift+home", "x"), "x b"),
    (("ctrl+left", "x"), f"a x{BOOK} b"),
    (("ctrl+w", "ctrl+z"), f"a {BOOK} b"),
    (("ctrl+w", "ctrl+z", "ctrl+y", "ctrl+z"), f"a {BOOK} b"),
    (("backspace", "ctrl+z", "x"), f"a {BOOK}x b"),
    (("shift+left", "ctrl+x", "ctrl+v", "ctrl+v"), f"a {BOOK}{BOOK} b"),
    (("shift+left", "ctrl+c", "end", "ctrl+v"), f"a {BOOK} b{BOOK}"),
    (("home", "ctrl+x", "y"), "y"),
    (("shift+left", "ctrl+j"), "a \n b"),
    (("shift+right", "shift+left", "shift+left", "x"), "a x b"),
    (("end", "x"), f"a {BOOK} bx"),
)


async def test_each_edit_takes_a_marker_whole_or_not_at_all(bench: Bench) -> None:
    """The cursor is right after the marker in `a MARKER b` when the keys come; then the draft is what it says."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        prompt = prompt_of(pilot)
        for keys, expected in CASES:
            prompt.load_text("")
            prompt.pastes.forget_all_but("")
            await pilot.press(*"a  b", "left", "left")
            await paste(pilot, BOOK)
            assert prompt.text == f"a {MARKER} b"
            await pilot.press(*keys)
            assert draft(pilot) == expected, f"after {keys}"
        await paste(pilot, BOOK)
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.of(Send)) == 1)
        assert bench.of(Send)[0].text == CASES[-1][1] + BOOK


async def test_a_paste_replaces_what_is_selected(bench: Bench) -> None:
    """A marker too, of which only one end was touched."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("a")
        await paste(pilot, BOOK)
        await pilot.press("b", "shift+left", "shift+left")
        await paste(pilot, "short")
        assert draft(pilot) == "ashort"


async def test_a_click_in_a_marker_is_a_click_beside_it(bench: Bench) -> None:
    """What is typed then is outside of it."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await paste(pilot, BOOK)
        await pilot.press("home")
        await pilot.click(Prompt, offset=(12, 1))
        await pilot.press("x")
        assert draft(pilot) in (f"x{BOOK}", f"{BOOK}x")


async def test_a_paste_survives_history_and_an_edited_message(bench: Bench) -> None:
    """What was being written comes back as it was: the words beside the marker can still be edited."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        await pilot.press("h", "i", "enter")
        await ready(pilot)
        await pilot.press(*"see ")
        await paste(pilot, BOOK)
        await pilot.press("up")
        assert draft(pilot) == "hi"
        await pilot.press("down")
        assert prompt_of(pilot).text == f"see {MARKER}"
        await pilot.press("f8", "e")
        await until(pilot, lambda: draft(pilot) == "hi")
        await paste(pilot, BOOK + "\nmore")
        await pilot.press("enter")
        await until(pilot, lambda: len(bench.of(Send)) == 2)
        assert bench.of(Send)[1].text == f"hi{BOOK}\nmore"
        assert draft(pilot) == f"see {BOOK}"


EDITS: dict[str, Callable[[Prompt], object]] = {
    "delete left": Prompt.action_delete_left,
    "delete right": Prompt.action_delete_right,
    "delete word left": Prompt.action_delete_word_left,
    "delete word right": Prompt.action_delete_word_right,
    "delete to the start": Prompt.action_delete_to_start_of_line,
    "delete to the end": Prompt.action_delete_to_end_of_line,
    "delete line": Prompt.action_delete_line,
    "cut": Prompt.action_cut,
    "put back": Prompt.action_paste,
    "undo": Prompt.action_undo,
    "redo": Prompt.action_redo,
    "left": Prompt.action_cursor_left,
    "right": Prompt.action_cursor_right,
    "word left": Prompt.action_cursor_word_left,
    "word right": Prompt.action_cursor_word_right,
    "up": lambda prompt: prompt.action_cursor_up(select=True),
    "down": lambda prompt: prompt.action_cursor_down(select=True),
    "start": Prompt.action_cursor_line_start,
    "end": Prompt.action_cursor_line_end,
    "select left": lambda prompt: prompt.action_cursor_left(select=True),
    "select word right": lambda prompt: prompt.action_cursor_word_right(select=True),
    "select line": Prompt.action_select_line,
    "select all": Prompt.action_select_all,
    "new line": Prompt.action_newline,
}
WRITTEN = st.one_of(
    st.sampled_from(sorted(EDITS)),
    st.text("ab c,.", min_size=1, max_size=3).map(lambda text: ("type", text)),
    st.integers(41, 44).map(lambda lines: ("paste", "\n".join(["line"] * lines))),
    st.tuples(st.integers(0, 4), st.integers(0, 60)),
    st.tuples(st.integers(0, 4), st.integers(0, 60), st.integers(0, 4), st.integers(0, 60)),
)


async def test_any_edits_leave_each_marker_whole_or_gone(bench: Bench) -> None:
    """And the draft is the text with each whole marker replaced by what was pasted."""
    async with bench.app().run_test() as pilot:
        await ready(pilot)
        prompt = prompt_of(pilot)
        pilot.app.copy_to_clipboard("")

        @settings(max_examples=250, deadline=None)
        @given(st.lists(WRITTEN, max_size=25))
        def check(edits: list[str | tuple[str, str] | tuple[int, ...]]) -> None:
            prompt.load_text("")
            prompt.pastes.forget_all_but("")
            pasted: dict[str, str] = {}
            for edit in [("paste", BOOK), *edits]:
                match edit:
                    case str():
                        EDITS[edit](prompt)
                    case ("type", str(text)):
                        prompt.type_in(text)
                    case ("paste", str(text)):
                        before = set(markers(prompt.text))
                        prompt.type_in(text)
                        new = set(markers(prompt.text)) - before
                        pasted |= dict.fromkeys(new, text)
                    case (int(row), int(column)):
                        prompt.move_cursor((row, column))
                    case (int(row), int(column), int(to_row), int(to_column)):
                        prompt.selection = Selection((row, column), (to_row, to_column))
                    case _:
                        raise AssertionError(edit)
                for marker in set(markers(prompt.text)) - set(pasted):  # cut, and put back under another number
                    pasted[marker] = prompt.pastes.unfold(marker)
                expected, bare = prompt.text, prompt.text
                for marker, text in pasted.items():
                    expected, bare = expected.replace(marker, text), bare.replace(marker, "")
                assert "⟦" not in bare
                assert "⟧" not in bare
                assert "text" not in bare
                assert prompt.draft == expected

        check()


def markers(text: str) -> list[str]:
    """Whatever looks like one."""
    return [f"⟦{part.partition('⟧')[0]}⟧" for part in text.split("⟦")[1:]]


def test_a_paste_that_looks_like_a_marker_is_sent_as_it_is() -> None:
    """It is text, inside another paste too."""
    pastes = FoldedPastes()
    first = pastes.fold(BOOK)
    short = pastes.fold(f"What is {first}?")
    long = pastes.fold(f"{first}\n{BOOK}", beside=first)
    assert pastes.unfold(f"{first} {short} {long}") == f"{BOOK} What is {first}? {first}\n{BOOK}"


def test_a_marker_that_the_person_has_typed_is_no_other_ones() -> None:
    """The next paste gets another number."""
    pastes = FoldedPastes()
    assert pastes.fold(BOOK, beside=MARKER) != MARKER
    assert pastes.unfold(MARKER) == MARKER
