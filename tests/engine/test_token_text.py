"""From tokens to text in pieces."""

from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.token_text import TokenText
from chatapp.protocol.window_text import TextPiece

END = 256
"""A special token; all others are bytes."""


def of_bytes() -> TokenText:
    return TokenText(lambda token: b"<end>" if token == END else bytes([token]), lambda token: token == END)


@given(st.lists(st.tuples(st.text(), st.booleans())), st.integers(1, 9))
def test_characters_are_whole_wherever_the_tokens_are_cut(texts: list[tuple[str, bool]], step: int) -> None:
    """Special tokens stand alone; what only spells one is text."""
    texts = [*texts, ("<end> é", False)]
    tokens = [token for text, ends in texts for token in [*text.encode(errors="replace"), *([END] if ends else [])]]
    reader = of_bytes()
    pieces = [piece for i in range(0, len(tokens), step) for piece in reader.read(tokens[i : i + step])]
    assert reader.end() == []
    spelled = "".join(text.encode(errors="replace").decode() + ("\0" if ends else "") for text, ends in texts)
    assert "".join("\0" if piece.special else piece.text for piece in pieces).replace("\0", "") == spelled.replace(
        "\0", ""
    )
    assert sum(piece.special for piece in pieces) == sum(ends for _, ends in texts)


def test_a_broken_character_is_shown_where_it_stands() -> None:
    """Before a special token, and at the end."""
    reader = of_bytes()
    euro = "€".encode()
    assert reader.read([*euro[:2], END, *euro]) == [
        TextPiece(text="\ufffd"),
        TextPiece(text="<end>", special=True),
        TextPiece(text="€"),
    ]
    assert reader.read(euro[:1]) == []
    assert reader.end() == [TextPiece(text="\ufffd")]
