"""Which tokens see which: each mask from the positions of the queries and of the keys.

A mask is a bool array of shape `(n_query, n_key)`, True where the key can be seen. Positions are int arrays, those of
the whole conversation unless a docstring says otherwise, in any order, so that the cells of a ring or of a cache after
an eviction can be asked about too. Rules combine with `&`. ValueError for positions that are no row of integers, and
for windows, chunks and numbers of sinks that make no sense; no tokens give a mask of none.

A window of W tokens includes the token itself: the query at position i sees the keys j with i - W < j <= i. Mistral,
gpt-oss and llama.cpp count like this; the `window_left` of flash-attention is W - 1.
"""

from collections.abc import Sequence

import numpy as np

from kernels import checks
from kernels.arrays import Bools, Ints


def causal(queries: Ints, keys: Ints) -> Bools:
    """Each token sees itself and all before it: `keys <= queries`, the mask of self-attention.

    >>> tokens = np.arange(len("The cat is on a chair".split()))
    >>> causal(tokens, tokens).astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [1, 1, 1, 1, 0, 0],
           [1, 1, 1, 1, 1, 0],
           [1, 1, 1, 1, 1, 1]])
    """
    queries, keys = _positions(queries, keys)
    return _causal(queries, keys)


def sliding_window(queries: Ints, keys: Ints, window: int) -> Bools:
    """Each token sees the last `window` tokens, itself included: `i - window < j <= i` (Mistral 7B).

    >>> tokens = np.arange(len("The cat is on a chair".split()))
    >>> sliding_window(tokens, tokens, window=3).astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [0, 1, 1, 1, 0, 0],
           [0, 0, 1, 1, 1, 0],
           [0, 0, 0, 1, 1, 1]])
    """
    queries, keys = _positions(queries, keys)
    window = checks.tokens("window", window, 1)
    return _window(queries, keys, window)


def sinks_and_window(queries: Ints, keys: Ints, window: int, n_sink: int) -> Bools:
    """The first `n_sink` tokens and the last `window`: StreamingLLM (arXiv 2309.17453, section 3.2).

    A sink inside the window counts once: a query sees `n_sink + window` tokens at most.

    >>> tokens = np.arange(len("The cat is on a chair".split()))
    >>> sinks_and_window(tokens, tokens, window=3, n_sink=1).astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [1, 1, 1, 1, 0, 0],
           [1, 0, 1, 1, 1, 0],
           [1, 0, 0, 1, 1, 1]])
    """
    queries, keys = _positions(queries, keys)
    window, n_sink = checks.tokens("window", window, 1), checks.tokens("n_sink", n_sink)
    return _window(queries, keys, window) | ((keys[np.newaxis, :] < n_sink) & _causal(queries, keys))


def chunked(queries: Ints, keys: Ints, chunk: int) -> Bools:
    """Each token sees its own chunk up to itself, and nothing of the chunk before (Llama 4).

    The chunks lie at fixed positions, unlike a window: the first token of each sees only itself. llama.cpp:
    LLAMA_SWA_TYPE_CHUNKED in llama-hparams.h.

    >>> tokens = np.arange(len("The cat is on a chair".split()))
    >>> chunked(tokens, tokens, chunk=3).astype(int)
    array([[1, 0, 0, 0, 0, 0],
           [1, 1, 0, 0, 0, 0],
           [1, 1, 1, 0, 0, 0],
           [0, 0, 0, 1, 0, 0],
           [0, 0, 0, 1, 1, 0],
           [0, 0, 0, 1, 1, 1]])
    """
    queries, keys = _positions(queries, keys)
    chunk = checks.tokens("chunk", chunk, 1)
    same_chunk = keys[np.newaxis, :] // chunk == queries[:, np.newaxis] // chunk
    return _causal(queries, keys) & same_chunk


def block_diagonal_causal(lengths: Sequence[int]) -> Bools:
    """Several prompts laid end to end, each causal and blind to the others: shape `(n, n)` with n = sum(lengths).

    BlockDiagonalCausalMask in xformers. With a window too, `&` it with `sliding_window` over the places in the pack:
    inside one prompt they lie as far apart as its positions do.

    >>> block_diagonal_causal([2, 3]).astype(int)
    array([[1, 0, 0, 0, 0],
           [1, 1, 0, 0, 0],
           [0, 0, 1, 0, 0],
           [0, 0, 1, 1, 0],
           [0, 0, 1, 1, 1]])
    """
    known = checks.lengths("lengths", lengths)
    prompt = np.repeat(np.arange(len(known)), np.array(known, dtype=np.int64))
    place = np.arange(len(prompt))
    return _causal(place, place) & (prompt[:, np.newaxis] == prompt[np.newaxis, :])


def _causal(queries: Ints, keys: Ints) -> Bools:
    return keys[np.newaxis, :] <= queries[:, np.newaxis]


def _window(queries: Ints, keys: Ints, window: int) -> Bools:
    return _causal(queries, keys) & (keys[np.newaxis, :] > queries[:, np.newaxis] - window)


def _positions(queries: Ints, keys: Ints) -> tuple[Ints, Ints]:
    return checks.integers("queries", queries, n_query=None), checks.integers("keys", keys, n_key=None)
