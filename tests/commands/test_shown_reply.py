"""What `swachat ask` prints of a reply in pieces."""

import io

import pytest

from chatapp.commands.shown_reply import ShownReply, reply_text
from chatapp.protocol.events import Text


def printed(*pieces: tuple[str, str], thoughts: bool) -> str:
    """Pieces of (reasoning, text)."""
    out = io.StringIO()
    shown = ShownReply(out, thoughts=thoughts)
    for reasoning, text in pieces:
        shown.show(Text(at_s=0, text=text, reasoning=reasoning, tokens=1))
    shown.end()
    return out.getvalue()


@pytest.mark.parametrize(
    ("pieces", "thoughts", "expected"),
    [
        ((("Is ", ""), ("it?", ""), ("", "Y"), ("", "es.")), False, "Yes.\n"),
        ((("Is ", ""), ("it?", ""), ("", "Y"), ("", "es.")), True, "[thoughts]\nIs it?\n\n[answer]\nYes.\n"),
        ((("Is it?\n", "Yes."),), True, "[thoughts]\nIs it?\n\n[answer]\nYes.\n"),
        ((("", "Yes."),), True, "Yes.\n"),
        ((("Is it?", ""),), True, "[thoughts]\nIs it?\n"),
        ((("Is it?", ""),), False, "\n"),
        ((), True, ""),
        ((("\x1b[2J", ""), ("", "\x1b[2J")), True, "[thoughts]\n␛[2J\n\n[answer]\n␛[2J\n"),
    ],
)
def test_thoughts_come_before_the_answer_and_only_where_they_are_asked_for(
    pieces: tuple[tuple[str, str], ...], thoughts: bool, expected: str
) -> None:
    assert printed(*pieces, thoughts=thoughts) == expected


def test_a_whole_reply_is_printed_as_one_in_pieces() -> None:
    assert reply_text("Yes.", "Is it?") + "\n" == printed(("Is it?", ""), ("", "Yes."), thoughts=True)
