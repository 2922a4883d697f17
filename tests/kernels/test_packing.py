"""Several prompts in one sequence, against each alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import Rope, attend, attend_packed, causal, last_places, pack, packed_positions, rotate, unpack
from tests.kernels.draws import heads, seeds

ROPE = Rope(n_rot=4, base=100.0)


@given(seed=seeds, lengths=st.lists(st.integers(1, 8), min_size=1, max_size=4))
def test_each_prompt_comes_out_as_if_it_were_alone(seed: int, lengths: list[int]) -> None:
    """Rotated at its own positions too; and its last token is where `last_places` says."""
    prompts = [heads(length, seed + number) for number, length in enumerate(lengths)]
    at = packed_positions(lengths)
    q = rotate(pack([prompt.q for prompt in prompts]), at, ROPE)
    k = rotate(pack([prompt.k for prompt in prompts]), at, ROPE)
    packed = attend_packed(q, k, pack([prompt.v for prompt in prompts]), lengths, scale=0.7).output
    parts = unpack(packed, lengths)
    for length, prompt, part, last in zip(lengths, prompts, parts, last_places(lengths), strict=True):
        tokens = np.arange(length)
        turned_q, turned_k = rotate(prompt.q, tokens, ROPE), rotate(prompt.k, tokens, ROPE)
        alone = attend(turned_q, turned_k, prompt.v, causal(tokens, tokens), scale=0.7).output
        np.testing.assert_allclose(part, alone, atol=1e-12)
        np.testing.assert_allclose(packed[:, last], alone[:, -1], atol=1e-12)


def test_packs_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match=r"packed must be \(n_head, sum_of_lengths = 4, dim\), not \(1, 5, 1\)"):
        unpack(np.zeros((1, 5, 1)), [2, 2])
    with pytest.raises(ValueError, match=r"lengths\[1\] must be a whole number, 1 or more, not 0"):
        last_places([2, 0])
