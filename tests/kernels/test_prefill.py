"""Chunks through a ring of fixed size, against everything at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import attend, prefill_chunked, sinks_and_window
from tests.kernels.draws import heads, n_sinks, n_tokens, seeds, windows


@given(seed=seeds, n_token=n_tokens, window=windows, n_sink=n_sinks, chunk=st.integers(1, 30))
def test_chunks_of_any_size_give_what_one_shot_gives(
    seed: int, n_token: int, window: int, n_sink: int, chunk: int
) -> None:
    """Smaller than the window, as large, larger; 1 is decoding; larger than the prompt is one shot."""
    h = heads(n_token, seed)
    tokens = np.arange(n_token)
    one_shot = attend(h.q, h.k, h.v, sinks_and_window(tokens, tokens, window, n_sink), scale=0.7).output
    chunked = prefill_chunked(h.q, h.k, h.v, window=window, chunk=chunk, n_sink=n_sink, scale=0.7)
    np.testing.assert_allclose(chunked, one_shot, atol=1e-12)


def test_chunks_of_nothing_are_refused() -> None:
    h = heads(2, seed=15)
    with pytest.raises(ValueError, match="chunk"):
        prefill_chunked(h.q, h.k, h.v, window=2, chunk=0)
