"""The plan of bytes grows with the window, and the largest window is exact; its truth is in tests/engine."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.cache.plan import PAD, TYPE_SIZE, Layer, Shape, largest_window, padded, plan, swa_cells

KIND = st.sampled_from(sorted(TYPE_SIZE))
WIDTH = st.integers(1, 64).map(lambda n: 32 * n)
SHAPES = st.builds(
    Shape,
    weights_bytes=st.integers(0, 10**10),
    layers=st.lists(st.builds(Layer, WIDTH, WIDTH, st.booleans()), min_size=1, max_size=12).map(tuple),
    n_swa=st.sampled_from([0, 128, 512, 4096]),
    n_vocab=st.integers(256, 262144),
    n_embd=WIDTH,
    n_ff=WIDTH,
)


@given(SHAPES, st.integers(1, 10**6), st.integers(1, 10**5), st.sampled_from([32, 256, 512]), KIND, KIND, st.booleans())
def test_a_longer_window_never_takes_less(
    shape: Shape, n_ctx: int, more: int, micro_batch: int, type_k: str, type_v: str, swa_full: bool
) -> None:
    short, long = (
        plan(shape, n_ctx=cells, micro_batch=micro_batch, type_k=type_k, type_v=type_v, swa_full=swa_full)
        for cells in (n_ctx, n_ctx + more)
    )
    assert (short.weights, short.kv <= long.kv, short.kv_swa <= long.kv_swa) == (long.weights, True, True)
    assert short.compute <= long.compute
    assert short.total == short.weights + short.kv + short.kv_swa + short.compute


@given(SHAPES, st.integers(0, 10**11), st.sampled_from([32, 256, 512]), KIND, KIND, st.booleans(), st.integers(1, 512))
def test_the_largest_window_fits_and_the_next_one_does_not(
    shape: Shape, budget_bytes: int, micro_batch: int, type_k: str, type_v: str, swa_full: bool, n_outputs: int
) -> None:
    """A person is told `--ctx N`: N must work, and nothing longer may have been kept from them."""

    def total(cells: int) -> int:
        size = plan(
            shape,
            n_ctx=cells,
            micro_batch=micro_batch,
            type_k=type_k,
            type_v=type_v,
            swa_full=swa_full,
            n_outputs=n_outputs,
        )
        return size.total

    largest = largest_window(
        shape,
        budget_bytes,
        micro_batch=micro_batch,
        type_k=type_k,
        type_v=type_v,
        swa_full=swa_full,
        n_outputs=n_outputs,
    )
    assert largest % PAD == 0
    assert largest == 0 or total(largest) <= budget_bytes
    assert largest == 1 << 24 or total(largest + PAD) > budget_bytes


@given(st.integers(1, 10**6), st.integers(1, 10**4), st.integers(1, 2048))
def test_a_pruned_window_is_what_llama_cpp_allocates(n_ctx: int, n_swa: int, micro_batch: int) -> None:
    cells = swa_cells(n_ctx, n_swa, micro_batch, full=False)
    assert cells % PAD == 0
    assert cells == padded(n_ctx) or n_swa + micro_batch <= cells < n_swa + micro_batch + PAD
    assert cells <= swa_cells(n_ctx, n_swa, micro_batch, full=True) == padded(n_ctx)


@pytest.mark.parametrize(("kind", "width", "expected"), [("f16", 192, 384), ("q8_0", 192, 204), ("q4_0", 64, 36)])
def test_a_cell_takes_the_bytes_of_its_blocks(kind: str, width: int, expected: int) -> None:
    shape = Shape(0, (Layer(width, width, False),), 0, 0, 0, 0)
    size = plan(shape, n_ctx=256, micro_batch=32, type_k=kind, type_v=kind, swa_full=False)
    assert size.kv == 2 * expected * 256
