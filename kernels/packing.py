"""Several prompts laid end to end and processed as one sequence: each comes out as if it were alone.

BlockDiagonalCausalMask in xformers. Three things keep the prompts apart: the mask lets no token see another
prompt, positions begin at 0 in each, and each prompt's next token is predicted from its own last place.
"""

from collections.abc import Sequence

import numpy as np

from kernels.arrays import AnyFloats, Floats, Ints, require
from kernels.attention import Attended, attend
from kernels.masks import block_diagonal_causal


def packed_positions(lengths: Sequence[int]) -> Ints:
    """The position of each token inside its own prompt, for its rotation: `(sum(lengths),)`.

    >>> packed_positions([2, 3]).tolist()
    [0, 1, 0, 1, 2]
    """
    return np.concatenate([np.arange(length) for length in lengths])


def last_places(lengths: Sequence[int]) -> Ints:
    """Where in the pack each prompt ends, which is where its next token is predicted: `(n_prompt,)`.

    >>> last_places([2, 3]).tolist()
    [1, 4]
    """
    require(all(length > 0 for length in lengths), "an empty prompt has no last token")
    return np.cumsum(np.array(lengths, dtype=np.int64)) - 1


def pack(prompts: Sequence[AnyFloats]) -> Floats:
    """Queries, keys or values of several prompts, each `(n_head, length, dim)`, end to end: `(n_head, sum, dim)`.

    >>> pack([np.array([[[1.0], [2.0]]]), np.array([[[3.0]]])]).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    return np.concatenate([prompt.astype(np.float64) for prompt in prompts], axis=1)


def unpack(packed: AnyFloats, lengths: Sequence[int]) -> list[AnyFloats]:
    """`pack` undone.

    >>> [part.ravel().tolist() for part in unpack(np.array([[[1.0], [2.0], [3.0]]]), [2, 1])]
    [[1.0, 2.0], [3.0]]
    """
    require(packed.shape[1] == sum(lengths), f"{packed.shape[1]} tokens are not prompts of {list(lengths)}")
    return np.split(packed, np.cumsum(np.array(lengths[:-1], dtype=np.int64)), axis=1)


def attend_packed(
    q: AnyFloats, k: AnyFloats, v: AnyFloats, lengths: Sequence[int], *, scale: float | None = None
) -> Attended:
    """Causal attention over packed prompts, in the shapes of `kernels.attention`: one call, blind between prompts.

    Each value is a number of its own, each output the mean of what is seen; the second prompt starts over:

    >>> q, k, v = np.zeros((1, 5, 1)), np.zeros((1, 5, 1)), np.arange(5.0).reshape(1, 5, 1)
    >>> attend_packed(q, k, v, [2, 3]).output.ravel().round(6).tolist()
    [0.0, 0.5, 2.0, 2.5, 3.0]
    """
    return attend(q, k, v, block_diagonal_causal(lengths), scale=scale)
