"""StreamingLLM's baseline, "sliding window with re-computation" (arXiv 2309.17453, figure 1c).

Nothing is cached: each token is predicted from a fresh prefill of the window before it. That is the best a bounded
window can do, and it costs a whole window for every token.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.native.llama import Model


def window_before(tokens: Sequence[int], at: int, n_ctx: int, *, bos: bool) -> Sequence[int]:
    """The at most `n_ctx` tokens from which token `at` is predicted.

    Where the text begins with BOS (`bos`), so does every window: such a model has never seen a context without it. It
    counts as one of the `n_ctx`, as a sink does.

    >>> window_before((9, 1, 2, 3, 4), 4, 3, bos=True)
    (9, 2, 3)
    >>> window_before((9, 1, 2, 3, 4), 4, 3, bos=False)
    (1, 2, 3)
    """
    if at <= n_ctx:
        return tokens[:at]
    head = 1 if bos else 0
    return (*tokens[:head], *tokens[at - n_ctx + head : at])


def predictions(
    model: Model, kv: KvCache, tokens: Sequence[int], every: int
) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """For every `every`-th token of the text its index and the logits before it, (1, n_vocab), until the next step.

    `kv` must evict nothing (`dense`). Raises CancelledError between two chunks of a prefill.
    """
    n_ctx, bos = kv.context.n_ctx, model.bos is not None
    for at in range(every, len(tokens), every):
        kv.clear()
        kv.prefill(Prefill([Piece(1, "text", tuple(window_before(tokens, at, n_ctx, bos=bos)))]))
        yield at, kv.context.logits(1)
