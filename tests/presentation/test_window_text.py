"""The text that a model is given, laid out for people."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from chatapp.presentation.window_text import GAP, SIGN, SPECIAL, Line, body, lines, whole
from chatapp.protocol.values import Ghost
from chatapp.protocol.window_text import TextPart, TextPiece


def part(turn: int, role: str, text: str = "words\n", *, kind: str = "recent", lost: int = 0) -> TextPart:
    pieces = [TextPiece(text="<|im_start|>", special=True), TextPiece(text=f"{role}\n"), TextPiece(text=text)]
    return TextPart(turn=turn, role=role, kind=kind, pieces=pieces, tokens=5, lost=lost, lost_at=2)


def said(found: Sequence[Line]) -> list[str]:
    return ["".join(text for text, _ in line) for line in found]


def test_each_message_has_a_heading_and_shows_its_markup() -> None:
    assert said(lines([part(0, "system", kind="sink"), part(1, "user", "Hi <|im_start|>\ta"), part(2, "user")])) == [
        "Before the first turn · system · sinks · 5 tokens",
        "⟨<|im_start|>⟩system↵",
        "words↵",
        "",
        "Turn 1 · user · 5 tokens",
        "⟨<|im_start|>⟩user↵",
        "Hi <|im_start|>⇥a",
        "",
        "Turn 2 · user · 5 tokens",
        "⟨<|im_start|>⟩user↵",
        "words↵",
    ]


def test_what_was_evicted_is_named_where_it_stood() -> None:
    """Inside a message behind its opening; whole turns between those that are there; a recalled turn stands last."""
    parts = [
        part(0, "system", kind="sink"),
        part(4, "user", lost=120),
        part(7, "user", kind="pinned"),
        part(2, "user", kind="recalled"),
    ]
    gone = {1: 10, 3: 20, 4: 120, 5: 7, 6: 8, 8: 9}
    found = said(lines(parts, [Ghost(turn=turn, tokens=n, whole=turn != 4) for turn, n in gone.items()]))
    assert [line for line in found if line.startswith(("Turn", "…"))] == [
        "… turns 1–3: 30 tokens evicted …",
        "Turn 4 · user · 5 tokens",
        "… 120 tokens evicted …",
        "… turns 5–6: 15 tokens evicted …",
        "Turn 7 · user · pinned · 5 tokens",
        "Turn 2 · user · recalled · 5 tokens",
        "… turn 8: 9 tokens evicted …",
    ]
    inside = found.index("… 120 tokens evicted …")
    assert found[inside - 1 : inside + 2] == ["⟨<|im_start|>⟩user↵", "… 120 tokens evicted …", "words↵"]


def test_more_turns_were_evicted_than_are_counted_one_by_one() -> None:
    gone = [Ghost(turn=turn, tokens=1, whole=True) for turn in range(101, 165)]
    assert "… turns 101–164 and earlier ones: 64 tokens evicted …" in said(lines([part(165, "user")], gone))


def test_the_markup_that_comes_with_the_next_message_says_so() -> None:
    pending = TextPart(turn=3, role="assistant", pieces=[TextPiece(text="<|im_end|>", special=True)], tokens=1)
    assert said(lines([], (), pending)) == [
        "Turn 3 · assistant · 1 token · not in the cache yet: decoded with the next message",
        "⟨<|im_end|>⟩",
    ]


def test_nothing_becomes_terminal_control() -> None:
    found = list(body([TextPiece(text="a\x1b[2Jb\rc"), TextPiece(text="<\x1b>\n", special=True)]))
    assert said(found) == ["a␛[2Jb␍c⟨<␛>↵⟩"]


@given(st.lists(st.tuples(st.text("ab \n\t↵⟨", max_size=9), st.booleans())))
def test_no_character_is_lost_and_none_invented(texts: list[tuple[str, bool]]) -> None:
    pieces = [TextPiece(text=text, special=special) for text, special in texts if text]
    signs = {"↵": "\n", "⇥": "\t"}
    shown = ""
    for text, style in [span for line in body(pieces) for span in line]:
        assert style != GAP
        if style == SPECIAL:
            text = text[1:-1].replace("↵", "\n").replace("⇥", "\t")
        shown += signs[text] if style == SIGN else text
    expected = "".join(text.replace("↵", "\n") if special else text for text, special in texts)
    assert shown == expected
    assert whole([TextPart(turn=1, role="user", pieces=pieces, tokens=None)]) == "".join(text for text, _ in texts)
