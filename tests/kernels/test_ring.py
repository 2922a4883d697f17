"""The rolling buffer: which token is in which cell, by hand and as a law."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import RollingBuffer, sinks_and_window, slot_of
from kernels.ring import EMPTY
from tests.kernels.draws import n_sinks, windows

WORDS = ["The", "cat", "is", "on", "a", "chair"]


def test_the_sentence_word_by_word() -> None:
    """The drawings of the textbook, W = 4: each new word and the pointer after it."""
    buffer = RollingBuffer(4, shape=(), dtype="U5")
    drawn: list[list[str]] = []
    for word in WORDS:
        buffer.append([word])
        drawn.append(buffer.cells.tolist())
    assert drawn == [
        ["The", "", "", ""],
        ["The", "cat", "", ""],
        ["The", "cat", "is", ""],
        ["The", "cat", "is", "on"],
        ["a", "cat", "is", "on"],
        ["a", "chair", "is", "on"],
    ]
    assert buffer.in_order().tolist() == ["is", "on", "a", "chair"]
    assert buffer.positions_in_order().tolist() == [2, 3, 4, 5]


def test_with_window_3_the_fourth_word_takes_the_first_cell() -> None:
    buffer = RollingBuffer(3, shape=(), dtype="U5")
    buffer.append(WORDS[:4])
    assert buffer.cells.tolist() == ["on", "cat", "is"]


def test_with_a_sink_the_rest_rolls_in_the_other_cells() -> None:
    """The sink's cell is not one of the three that roll: "on" goes to the first of these when they are full."""
    buffer = RollingBuffer(3, n_sink=1, shape=(), dtype="U5")
    buffer.append(WORDS[:4])
    assert buffer.cells.tolist() == ["The", "cat", "is", "on"]
    buffer.append(WORDS[4:])
    assert buffer.cells.tolist() == ["The", "a", "chair", "on"]
    assert buffer.positions.tolist() == [0, 4, 5, 3]


@given(window=windows, n_sink=n_sinks, chunks=st.lists(st.integers(0, 15), max_size=6))
def test_the_cells_hold_what_the_next_token_may_see(window: int, n_sink: int, chunks: list[int]) -> None:
    """However the tokens come: the sinks and the last W, each in the slot of its position, none twice."""
    buffer = RollingBuffer(window, n_sink=n_sink, shape=(2,))
    n_token = sum(chunks)
    items = np.arange(2.0 * n_token).reshape(n_token, 2)
    start = 0
    for size in chunks:
        buffer.append(items[start : start + size])
        start += size
    tokens = np.arange(n_token)
    kept = tokens[sinks_and_window(tokens[-1:], tokens, window, n_sink)[0]] if n_token else tokens
    # The window may reach back to the sinks before it is full: then the cells hold one range without a gap.
    assert set(kept) <= set(buffer.positions_in_order()) <= set(tokens)
    assert buffer.positions_in_order().tolist() == [
        p for p in range(n_token) if p < n_sink or p >= max(n_sink, n_token - window)
    ]
    np.testing.assert_array_equal(buffer.in_order(), items[buffer.positions_in_order()])
    for slot, position in enumerate(buffer.positions):
        assert position == EMPTY or slot == slot_of(int(position), window, n_sink)
    assert buffer.written == n_token


def test_a_ring_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        RollingBuffer(0, shape=())
    with pytest.raises(ValueError, match="n_sink"):
        RollingBuffer(1, n_sink=-1, shape=())
