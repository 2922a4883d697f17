"""Alt+Enter and its like, as the bytes that terminals send for them."""

import pytest
from textual import events
from textual._ansi_sequences import ANSI_SEQUENCES_KEYS
from textual._xterm_parser import XTermParser

from chatapp.ui.action_table import BY_ID
from chatapp.ui.textual_fixes import alt_enter


def keys_of(bytes_sent: str) -> list[str]:
    """The keys that Textual makes of what a terminal sent."""
    parser = XTermParser(False)
    return [event.key for event in [*parser.feed(bytes_sent), *parser.feed("")] if isinstance(event, events.Key)]


@pytest.mark.parametrize("bytes_sent", ["\x1b\r", "\x1b[13;3u", "\x1b[13;2u", "\n"])
def test_alt_enter_and_shift_enter_are_no_enter_in_any_terminal(bytes_sent: str) -> None:
    """A terminal without a keyboard protocol sends ESC CR for Alt+Enter; it must not send the message."""
    alt_enter.install()
    keys = keys_of(bytes_sent)
    newline = BY_ID["newline"].keys.split(",")
    assert len(keys) == 1
    assert keys[0] in newline


def test_textual_alone_still_reads_it_as_enter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once this fails, the fix can be removed."""
    monkeypatch.delitem(ANSI_SEQUENCES_KEYS, "\x1b\r", raising=False)
    assert keys_of("\x1b\r")[-1] == "enter"
