"""Several prompts laid end to end and processed as one sequence: each comes out as if it were alone.

BlockDiagonalCausalMask in xformers. Three things keep the prompts apart: the mask lets no token see another
prompt, positions begin at 0 in each, and each prompt's next token is predicted from its own last place. A prompt may be
empty, and there may be none; ValueError for lengths and shapes that do not fit.
"""

from collections.abc import Sequence

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Floats, Ints
from kernels.attention import Attended, attend
from kernels.masks import block_diagonal_causal


def packed_positions(lengths: Sequence[int]) -> Ints:
    """The position of each token inside its own prompt, for its rotation: `(sum(lengths),)`.

    >>> packed_positions([2, 3]).tolist()
    [0, 1, 0, 1, 2]
    """
    known = checks.lengths("lengths", lengths)
    return np.concatenate([np.zeros(0, dtype=np.int64), *(np.arange(length) for length in known)])


def last_places(lengths: Sequence[int]) -> Ints:
    """Where in the pack each prompt ends, which is where its next token is predicted: `(n_prompt,)`.

    ValueError for an empty prompt too, which has no last token.

    >>> last_places([2, 3]).tolist()
    [1, 4]
    """
    return np.cumsum(np.array(checks.lengths("lengths", lengths, 1), dtype=np.int64)) - 1


def pack(prompts: Sequence[AnyFloats]) -> Floats:
    """Queries, keys or values of several prompts, each `(n_head, length, dim)`, end to end: `(n_head, sum, dim)`.

    ValueError for no prompts at all, for nothing says how many heads these would have.

    >>> pack([np.array([[[1.0], [2.0]]]), np.array([[[3.0]]])]).ravel().tolist()
    [1.0, 2.0, 3.0]
    """
    checks.require(len(prompts) > 0, "prompts must be one array or more, not none")
    for i, prompt in enumerate(prompts):
        checks.floats(f"prompts[{i}]", prompt)
        n_head, dim = (prompts[0].shape[0], prompts[0].shape[2]) if i else (None, None)
        checks.fits(f"prompts[{i}]", prompt.shape, n_head=n_head, length=None, dim=dim)
    return np.concatenate([prompt.astype(np.float64) for prompt in prompts], axis=1)


def unpack(packed: AnyFloats, lengths: Sequence[int]) -> list[AnyFloats]:
    """`pack` undone.

    >>> [part.ravel().tolist() for part in unpack(np.array([[[1.0], [2.0], [3.0]]]), [2, 1])]
    [[1.0, 2.0], [3.0]]
    """
    checks.floats("packed", packed)
    known = checks.lengths("lengths", lengths)
    checks.fits("packed", packed.shape, n_head=None, sum_of_lengths=sum(known), dim=None)
    ends = np.cumsum(np.array(known, dtype=np.int64))
    return np.split(packed, ends, axis=1)[:-1]


def attend_packed(
    q: AnyFloats, k: AnyFloats, v: AnyFloats, lengths: Sequence[int], *, scale: float | None = None
) -> Attended:
    """Causal attention over packed prompts, in the shapes of `kernels.attention`: one call, blind between prompts.

    Each value is a number of its own, each output the mean of what is seen; the second prompt starts over:

    >>> q, k, v = np.zeros((1, 5, 1)), np.zeros((1, 5, 1)), np.arange(5.0).reshape(1, 5, 1)
    >>> attend_packed(q, k, v, [2, 3]).output.ravel().round(6).tolist()
    [0.0, 0.5, 2.0, 2.5, 3.0]
    """
    checks.attention(q, k, v, scale)
    known = checks.lengths("lengths", lengths)
    checks.fits("q", q.shape, n_head=None, sum_of_lengths=sum(known), head_dim=None)
    checks.fits("k", k.shape, n_kv_head=None, sum_of_lengths=sum(known), head_dim=None)
    return attend(q, k, v, block_diagonal_causal(lengths), scale=scale)
