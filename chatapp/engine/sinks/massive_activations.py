"""Massive activations: positions where the residual stream is far larger than elsewhere, which is where sinks are.

Sun et al., "Massive Activations in Large Language Models" (arXiv 2402.17762): a few early tokens get huge values in a
middle layer, keep them to the end, and draw the attention of all later tokens.
"""

import re
from collections.abc import Sequence
from typing import Final

import numpy as np

from chatapp.engine.native import ggml, tensor_layout
from chatapp.engine.native.ggml import Floats
from chatapp.engine.native.llama import Context
from chatapp.engine.native.scheduler_hook import node_callback
from chatapp.errors import EngineError
from chatapp.protocol.values import Outlier

LEAST_RATIO: Final = 10.0
"""A norm of at least so many times the median of its layer is reported; ordinary tokens stay below 2."""
_NODE: Final = re.compile(rb"l_out-\d+")
"""llama.cpp's name for the residual stream after a layer."""


class ResidualNorms:
    """Observes decodes of the context that was made with its `callback`, but only those that `outliers` runs."""

    def __init__(self) -> None:
        self._looking = False
        self._norms: list[Floats] = []
        self.callback = node_callback(self._look)

    def outliers(self, context: Context, tokens: Sequence[int]) -> list[Outlier] | None:
        """Decode these first tokens (a micro-batch at most) and return those that stand out in some layer, by position.

        `context` must be empty; afterwards it holds the tokens. None where the model's layers have other names, or
        where this build's tensors cannot be read.
        """
        self._norms.clear()
        self._looking = tensor_layout.problem() is None
        status = context.decode(tokens, 0, logits="none")
        context.synchronize()
        self._looking = False
        if status:
            raise EngineError(f"llama.cpp could not process {len(tokens)} tokens (status {status}).", "See the log.")
        # The last layer has only the rows of which logits are wanted.
        whole = [norms for norms in self._norms if len(norms) == len(tokens)]
        if not whole:
            return None
        layers = np.stack(whole)
        ratios = (layers / np.median(layers, axis=1, keepdims=True)).max(axis=0)
        return [Outlier(pos=int(pos), ratio=float(ratios[pos])) for pos in np.flatnonzero(ratios >= LEAST_RATIO)]

    def _look(self, address: int, ask: bool, _user: int | None) -> bool:
        if not self._looking:
            return not ask
        if ask:
            return _NODE.fullmatch(ggml.name_at(address)) is not None
        self._norms.append(np.linalg.norm(ggml.numbers(ggml.tensor_at(address))[0, 0], axis=1))
        return True
