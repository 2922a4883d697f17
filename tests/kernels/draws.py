"""What Hypothesis draws for the kernels: arrays from a seed, small shapes."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from kernels.arrays import Floats


@dataclass(frozen=True)
class Heads:
    """Queries, keys and values of one layer, in the shapes of `kernels.attend`."""

    q: Floats
    k: Floats
    v: Floats


def heads(n_token: int, seed: int, *, n_head: int = 4, n_kv_head: int = 2, head_dim: int = 4, v_dim: int = 3) -> Heads:
    """Random heads of `n_token` tokens; scores vary enough that a wrong mask is seen."""
    random = np.random.default_rng(seed)
    return Heads(
        q=2 * random.normal(size=(n_head, n_token, head_dim)),
        k=2 * random.normal(size=(n_kv_head, n_token, head_dim)),
        v=random.normal(size=(n_kv_head, n_token, v_dim)),
    )


seeds = st.integers(0, 2**32 - 1)
n_tokens = st.integers(1, 24)
windows = st.integers(1, 12)
n_sinks = st.integers(0, 5)
