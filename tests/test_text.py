"""Text from anywhere, made safe to show."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.errors import ModelError
from chatapp.presentation.notices import Notice
from chatapp.text import LONGEST_SENTENCE, one_line, visible

TRICKS = st.text(st.characters() | st.sampled_from("\x1b\x9b\x07\r\n\t\u202e\u2028\ud800"), max_size=40)


@given(TRICKS)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    """Controls, bidirectional overrides and isolates, separators, lone surrogates; what is shown can be written."""
    shown = visible(text)
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2029\u2066-\u2069]", shown)
    assert shown.encode().decode() == shown
    assert len(shown) <= len(text)
    assert visible(shown) == shown


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\tb\nc", "a\tb\nc"),
        ("a\r\nb\rc", "a\nb␍c"),
        ("\x1b[31mred\x1b]52;c;eA==\x07", "␛[31mred␛]52;c;eA==␇"),
        ("\x9b31m\x7f\x00", "�31m␡␀"),
        ("user\u202etxt.exe", "user�txt.exe"),
        ("a\u2066b\u2069", "a�b�"),
        ("שלום\u200f! \u200eabc \u061c", "שלום\u200f! \u200eabc \u061c"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👨\u200d👩 e\u0301 ü", "👨\u200d👩 e\u0301 ü"),
    ],
)
def test_examples(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(TRICKS | st.text(st.sampled_from("ab \n\r\t\u202e"), max_size=60), st.integers(3, 40))
def test_a_text_from_elsewhere_is_a_part_of_one_line(text: str, most: int) -> None:
    line = one_line(text, most)
    assert "\n" not in line
    assert "\t" not in line
    assert visible(line) == line
    assert len(line) <= most
    assert one_line(line, most) == line


def test_a_long_text_loses_its_middle() -> None:
    assert one_line("/models/" + "x" * 5000 + ": File name too long", 40) == "/models/xxxxxxxxxxxx… File name too long"
    assert len(one_line("x" * 10_000_000)) == 200


def test_errors_and_notices_are_one_bounded_line_whatever_they_quote() -> None:
    """A trace's error quoted 8 kB of it, and a name with line feeds added lines to a report."""
    error = ModelError("/models/evil\n\x1b[2J.gguf: " + "x" * 100_000 + "\nis damaged.", "Download\nit again.")
    assert str(error).startswith("/models/evil ␛[2J.gguf: xxx")
    assert str(error).endswith("xxx is damaged. Download it again.")
    assert len(error.what) == LONGEST_SENTENCE
    notice = Notice("warning", "good\nevict      yes" + "x" * 100_000)
    assert notice.text.startswith("good evict      yesx")
    assert len(notice.text) == LONGEST_SENTENCE
