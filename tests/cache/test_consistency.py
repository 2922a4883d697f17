"""Ledger and llama.cpp's positions: each way in which they can disagree is seen, and none where there is none."""

import pytest

from chatapp.cache.consistency import mismatch
from chatapp.cache.ledger import Ledger

BOOK = Ledger().append(1, "user", tuple(range(10)))
EVICTED = BOOK.remove(0, 4)


@pytest.mark.parametrize(
    ("ledger", "positions", "n_swa", "recurrent", "words"),
    [
        (Ledger(), (0, 3), 0, False, "the ledger is empty"),
        (BOOK, None, 0, False, "llama.cpp holds nothing"),
        (BOOK, (0, 8), 0, False, "ends at position 9, llama.cpp at 8"),
        (EVICTED, (0, 9), 0, False, "begins at position 4, llama.cpp at 0"),
        (BOOK, (7, 9), 4, False, "the window of 4 reaches back to 6, its cells to 7"),
        (BOOK, (0, 10), 0, True, "llama.cpp at 10"),
    ],
)
def test_what_cannot_both_be_true_is_told(
    ledger: Ledger, positions: tuple[int, int] | None, n_swa: int, recurrent: bool, words: str
) -> None:
    """A wrong ledger shows a wrong map, and evicts what it does not mean to."""
    assert words in (mismatch(ledger, positions, n_ctx=16, n_swa=n_swa, recurrent=recurrent) or "")


def test_more_tokens_than_cells_are_told() -> None:
    assert mismatch(BOOK, (0, 9), n_ctx=9) == "the ledger counts 10 tokens in 9 cells"


@pytest.mark.parametrize(
    ("ledger", "positions", "n_swa", "recurrent"),
    [
        (Ledger(), None, 0, False),
        (BOOK, (0, 9), 0, False),
        (EVICTED, (4, 9), 0, False),
        (BOOK, (6, 9), 4, False),
        (BOOK, (0, 9), 4, False),
        (BOOK.remove(5, 8), (8, 9), 4, False),
        (BOOK, (9, 9), 0, True),
    ],
    ids=[
        "empty",
        "whole",
        "evicted",
        "only the window",
        "more than the window",
        "evicted inside the window",
        "a state without a beginning",
    ],
)
def test_what_agrees_is_silent(ledger: Ledger, positions: tuple[int, int] | None, n_swa: int, recurrent: bool) -> None:
    """A false alarm turns the map red for nothing."""
    assert mismatch(ledger, positions, n_ctx=16, n_swa=n_swa, recurrent=recurrent) is None
