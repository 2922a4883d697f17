"""Prefill a long prompt in chunks through a cache of fixed size: the same outputs as all at once.

Mistral 7B (arXiv 2310.06825, section 2, Pre-fill and Chunking).
"""

import numpy as np

from kernels import checks
from kernels.arrays import AnyFloats, Floats
from kernels.attention import attend
from kernels.masks import sinks_and_window
from kernels.ring import RollingBuffer


def prefill_chunked(
    q: AnyFloats, k: AnyFloats, v: AnyFloats, *, window: int, chunk: int, n_sink: int = 0, scale: float | None = None
) -> Floats:
    """Attention over sinks and window, `chunk` tokens at a time: the output `(n_head, n_token, v_dim)`.

    Keys are the cache's and the chunk's, queries the chunk's alone. The chunk enters the cache afterwards: entering
    first, its last tokens would take the cells that its first queries still look at. `q (n_head, n_token, head_dim)`,
    `k` and `v` as in `kernels.attention`, of the same tokens, rotated already. A chunk of 1 is token by token, which is
    decoding; no tokens give `(n_head, 0, v_dim)`. ValueError for what does not fit.

    Ten words, W = 4, in chunks of 4, 4 and 2; each value is the word's position, each output the mean of what is seen:

    >>> words = "Can you tell me who is the richest man in history".split()[:10]
    >>> q, k, v = np.zeros((1, 10, 1)), np.zeros((1, 10, 1)), np.arange(10.0).reshape(1, 10, 1)
    >>> prefill_chunked(q, k, v, window=4, chunk=4).ravel().tolist()
    [0.0, 0.5, 1.0, 1.5, 2.5, 3.5, 4.5, 5.5, 6.5, 7.5]
    """
    checks.attention(q, k, v, scale)
    n_token: int = q.shape[1]
    checks.fits("k", k.shape, n_kv_head=None, n_token=n_token, head_dim=None)
    chunk = checks.count("chunk", chunk, 1)
    # Cells for more than all tokens would stay empty.
    window = min(checks.count("window", window, 1), n_token + 1)
    n_sink = min(checks.count("n_sink", n_sink), n_token)
    keys = RollingBuffer(window, n_sink=n_sink, shape=(len(k), k.shape[-1]))
    values = RollingBuffer(window, n_sink=n_sink, shape=(len(v), v.shape[-1]))
    outputs: list[Floats] = [np.zeros((len(q), 0, v.shape[-1]))]
    for start in range(0, n_token, chunk):
        now = slice(start, start + chunk)
        here = np.arange(start, min(start + chunk, n_token))
        seen_k = np.concatenate([keys.in_order().swapaxes(0, 1), k[:, now]], axis=1)
        seen_v = np.concatenate([values.in_order().swapaxes(0, 1), v[:, now]], axis=1)
        mask = sinks_and_window(here, np.concatenate([keys.positions_in_order(), here]), window, n_sink)
        outputs.append(attend(q[:, now], seen_k, seen_v, mask, scale=scale).output)
        keys.append(k[:, now].swapaxes(0, 1))
        values.append(v[:, now].swapaxes(0, 1))
    return np.concatenate(outputs, axis=1)
