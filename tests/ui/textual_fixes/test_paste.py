"""A paste comes as one paste, whatever is in it and however it was cut on its way."""

from hypothesis import given
from hypothesis import strategies as st
from textual import events

from chatapp.ui.textual_fixes.paste import PasteParser

# Neither a NUL, which Textual takes out of a paste, nor what ends one.
PIECES = st.lists(
    st.sampled_from(["\x1b", "[201", "[", "~", "\x11", "\r", "a", "é", "\x1b[200~", "\x1b]52;c;aGk=\x07", "x" * 40])
)
TEXTS = PIECES.map("".join).filter(lambda text: "\x1b[201~" not in text)


def said(chunks: list[str]) -> list[str]:
    """What the parser makes of the chunks: keys by name, pastes by their text in brackets."""
    parser = PasteParser()
    found = [message for chunk in chunks for message in parser.feed(chunk)]
    return [
        f"<{message.text}>" if isinstance(message, events.Paste) else message.key
        for message in found
        if isinstance(message, events.Paste | events.Key)
    ]


@given(TEXTS, st.integers(1, 9))
def test_a_paste_is_nothing_but_a_paste(text: str, size: int) -> None:
    sent = f"a\x1b[200~{text}\x1b[201~b"
    chunks = [sent[at : at + size] for at in range(0, len(sent), size)]
    assert said(chunks) == ["a", f"<{text}>", "b"]


def test_keys_are_read_as_before() -> None:
    assert said(["\x1b[", "A\x1b[15~\r", "\x1bOP"]) == ["up", "f5", "enter", "f1"]
