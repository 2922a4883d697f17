"""Long texts that scroll."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from chatapp.presentation.window_text import Span
from chatapp.ui.widgets.text_lines import folded

SPANS = st.lists(st.builds(Span, st.text("abc  é日👍", max_size=30), st.sampled_from(["text", "special", "sign"])))


@given(SPANS, st.integers(2, 40))
def test_every_row_fits_and_no_character_is_lost(spans: list[Span], width: int) -> None:
    rows = list(folded(tuple(spans), width))
    assert all(sum(cell_len(text) for text, _ in row) <= width for row in rows)
    styled = [(character, style) for text, style in spans for character in text]
    assert [(character, style) for row in rows for text, style in row for character in text] == styled


def test_words_stay_whole_where_they_can() -> None:
    rows = folded((Span("<s>", "special"), Span("the quick brown", "text")), 10)
    assert ["".join(text for text, _ in row) for row in rows] == ["<s>the ", "quick ", "brown"]


def test_an_empty_line_has_a_row() -> None:
    assert list(folded((), 10)) == [()]
