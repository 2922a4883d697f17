"""Masks by hand, on the sentence of the textbooks, and what each means in words."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import block_diagonal_causal, causal, chunked, sinks_and_window, sliding_window
from kernels.arrays import Bools, Ints
from tests.kernels.draws import n_sinks, windows

WORDS = ["The", "cat", "is", "on", "a", "chair"]
TOKENS = np.arange(len(WORDS))
positions = st.lists(st.integers(0, 60), min_size=1, max_size=12).map(lambda drawn: np.array(drawn))


def seen_by(word: str, mask: Bools) -> str:
    """The words that `word` sees, in a sentence."""
    return " ".join(np.array(WORDS)[mask[WORDS.index(word)]])


@pytest.mark.parametrize(
    ("window", "on", "a", "chair"),
    [(3, "cat is on", "is on a", "on a chair"), (4, "The cat is on", "cat is on a", "is on a chair")],
)
def test_a_window_includes_the_token_itself(window: int, on: str, a: str, chair: str) -> None:
    """W = 3 is the token and two before it; at W = 4 "a", the fifth word, is the first that no longer sees "The"."""
    mask = sliding_window(TOKENS, TOKENS, window)
    assert seen_by("The", mask) == "The"
    assert seen_by("on", mask) == on
    assert seen_by("a", mask) == a
    assert seen_by("chair", mask) == chair


def test_window_4_in_full() -> None:
    assert sliding_window(TOKENS, TOKENS, 4).astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 1],
    ]


def test_sinks_stay_in_sight() -> None:
    mask = sinks_and_window(TOKENS, TOKENS, window=3, n_sink=1)
    assert seen_by("is", mask) == "The cat is"
    assert seen_by("on", mask) == "The cat is on"
    assert seen_by("chair", mask) == "The on a chair"


def test_a_chunk_begins_blind() -> None:
    """Where a window would still see "The cat is", the first word of the next chunk sees itself alone."""
    mask = chunked(TOKENS, TOKENS, chunk=3)
    assert seen_by("is", mask) == "The cat is"
    assert seen_by("on", mask) == "on"
    assert seen_by("chair", mask) == "on a chair"


def test_packed_prompts_do_not_see_each_other() -> None:
    mask = block_diagonal_causal([2, 1, 3])
    assert mask.astype(int).tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0],
        [0, 0, 0, 1, 0, 0],
        [0, 0, 0, 1, 1, 0],
        [0, 0, 0, 1, 1, 1],
    ]


@given(queries=positions, keys=positions, window=windows, n_sink=n_sinks)
def test_each_mask_is_its_rule_for_each_pair(queries: Ints, keys: Ints, window: int, n_sink: int) -> None:
    """Positions in any order and with repeats, as in a ring or in shared cells; the rules written out pair by pair."""
    rules: list[tuple[Bools, Callable[[int, int], bool]]] = [
        (causal(queries, keys), lambda i, j: j <= i),
        (sliding_window(queries, keys, window), lambda i, j: i - window < j <= i),
        (sinks_and_window(queries, keys, window, n_sink), lambda i, j: j <= i and (j < n_sink or j > i - window)),
        (chunked(queries, keys, window), lambda i, j: (i // window) * window <= j <= i),
    ]
    for mask, rule in rules:
        assert mask.tolist() == [[rule(int(i), int(j)) for j in keys] for i in queries]


@given(lengths=st.lists(st.integers(0, 6), min_size=1, max_size=4), window=windows)
def test_a_window_over_places_is_a_window_in_each_prompt(lengths: list[int], window: int) -> None:
    """What the docstring promises of `block_diagonal_causal & sliding_window`."""
    place = np.arange(sum(lengths))
    mask = block_diagonal_causal(lengths) & sliding_window(place, place, window)
    start = 0
    for length in lengths:
        inside = np.arange(length)
        end = start + length
        assert (mask[start:end, start:end] == sliding_window(inside, inside, window)).all()
        assert not mask[start:end, :start].any()
        assert not mask[start:end, end:].any()
        start = end


def test_windows_of_nothing_are_refused() -> None:
    with pytest.raises(ValueError, match="window"):
        sliding_window(TOKENS, TOKENS, 0)
    with pytest.raises(ValueError, match="n_sink"):
        sinks_and_window(TOKENS, TOKENS, 1, -1)
    with pytest.raises(ValueError, match="chunk"):
        chunked(TOKENS, TOKENS, 0)
