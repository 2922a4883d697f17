"""The inspector's layout as a file, and the width that a screen has room for."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.ui.layout import CHAT_WIDTH, LEAST_WIDTH, Layout, LayoutFile, fitting, from_json, to_json

words = st.text(max_size=8)
layouts = st.builds(
    Layout,
    shown=st.none() | st.booleans(),
    width=st.none() | st.integers(-5, 500),
    folded=st.dictionaries(words, st.booleans(), max_size=3),
    views=st.dictionaries(words, st.dictionaries(words, words, max_size=2), max_size=2),
)


@given(layouts)
def test_what_is_written_is_read_again(layout: Layout) -> None:
    """A layout that changed on its way through the file would move panels from one run to the next."""
    assert from_json(to_json(layout)) == layout


@given(wanted=st.integers(-9, 999), columns=st.integers(100, 400))
def test_beside_the_chat_there_are_at_least_sixty_columns_left(wanted: int, columns: int) -> None:
    """And the inspector itself stays wide enough to be read."""
    width = fitting(wanted, columns, over=False)
    assert LEAST_WIDTH <= width <= columns - CHAT_WIDTH
    assert width == wanted or not LEAST_WIDTH <= wanted <= columns - CHAT_WIDTH


@given(wanted=st.integers(-9, 999), columns=st.integers(1, 99), over=st.booleans())
def test_no_screen_is_too_small(wanted: int, columns: int, over: bool) -> None:
    assert 1 <= fitting(wanted, columns, over=over) <= columns


def test_nothing_kept_is_no_trouble(tmp_path: Path) -> None:
    assert LayoutFile(tmp_path / "layout.json").load() == (Layout(), "")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "Expecting value"),
        (b"[1]", "not a JSON object"),
        (b'{"width": "42"}', "width is '42'"),
        (b'{"width": true}', "width is True"),
        (b'{"shown": 1}', "shown is 1"),
        (b'{"folded": {"Cache": "yes"}}', "Cache is 'yes'"),
        (b'{"views": {"Cache": {"by": 3}}}', "by is 3"),
        (b'{"views": []}', "views is not a JSON object"),
        (b"\xff", "decode"),
        (b"[" * 100_000, "recursion"),
    ],
)
def test_a_broken_file_is_kept_aside_and_told(tmp_path: Path, text: bytes, why: str) -> None:
    """A start must not fail on it, and what a person may have written there by hand must not be lost."""
    file = tmp_path / "layout.json"
    file.write_bytes(text)
    layout, problem = LayoutFile(file).load()
    assert layout == Layout()
    assert why in problem
    assert (tmp_path / "layout.json.broken").read_bytes() == text
    assert LayoutFile(file).load() == (Layout(), "")


def test_keys_of_a_later_version_are_ignored() -> None:
    assert from_json('{"width": 50, "docked": "left"}') == Layout(width=50)


def test_what_cannot_be_written_disturbs_nobody(tmp_path: Path) -> None:
    """A state folder that went away, or a full disk: the chat goes on."""
    LayoutFile(tmp_path / "gone" / "layout.json").keep(Layout(width=50))
    assert list(tmp_path.iterdir()) == []
