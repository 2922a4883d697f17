"""The cells of a plan are llama.cpp's, and the largest window is exact; the truth of the bytes is in tests/engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache.memory_plan import (
    MOST_CELLS,
    PAD,
    Bytes,
    Layer,
    kv_bytes,
    largest_window,
    padded,
    quantized,
    swa_cells,
)


@given(
    st.integers(0, 10**10),
    st.integers(0, 10**9),
    st.lists(st.tuples(st.integers(0, MOST_CELLS), st.integers(0, 10**5)), max_size=4),
    st.integers(0, MOST_CELLS),
)
def test_the_largest_window_fits_and_the_next_one_does_not(
    budget_bytes: int, weights: int, slopes: list[tuple[int, int]], most: int
) -> None:
    """A person is told `--ctx N`: N must work, and nothing longer may have been kept from them."""

    def total(cells: int) -> int:
        return weights + sum(slope * max(0, cells - start) for start, slope in slopes)

    largest = largest_window(total, budget_bytes, most)
    assert largest % PAD == 0
    assert largest <= most
    assert largest == 0 or total(largest) <= budget_bytes
    assert largest + PAD > most or total(largest + PAD) > budget_bytes


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(1, 2048))
def test_a_pruned_window_is_what_llama_cpp_allocates(n_ctx: int, n_swa: int, micro_batch: int) -> None:
    cells = swa_cells(n_ctx, n_swa, micro_batch, full=False)
    assert cells % PAD == 0
    assert cells == padded(n_ctx) or n_swa + micro_batch <= cells < n_swa + micro_batch + PAD
    assert cells <= swa_cells(n_ctx, n_swa, micro_batch, full=True) == padded(n_ctx)


@pytest.mark.parametrize(("kind", "width", "expected"), [("f16", 192, 384), ("q8_0", 192, 204), ("q4_0", 64, 36)])
def test_a_cell_takes_the_bytes_of_its_blocks(kind: str, width: int, expected: int) -> None:
    assert kv_bytes([Layer(width, width, False)], 256, kind, kind) == 2 * expected * 256


def test_keys_and_values_have_types_of_their_own() -> None:
    assert kv_bytes([Layer(64, 32, True)] * 2, 10, "f32", "q8_0") == 10 * 2 * (256 + 34)


def test_a_type_is_quantized_where_it_keeps_blocks() -> None:
    assert [kind for kind in ("f32", "f16", "bf16", "q8_0", "iq4_nl") if quantized(kind)] == ["q8_0", "iq4_nl"]


def test_the_total_counts_the_sliding_layers_where_there_are_any() -> None:
    assert Bytes(weights=1, kv=2, kv_swa=4, compute=8).total == 15
    assert Bytes(weights=1, kv=2, kv_swa=None, compute=8).total == 11
