"""Sampling of the next token."""

from typing import Any, Final

from chatapp.engine.native.binding import lib
from chatapp.engine.native.llama import Context, Model
from chatapp.protocol.values import Sampling

PENALTY_WINDOW_TOK: Final = 64


class Sampler:
    """A chain of llama.cpp's own samplers: penalties, top-k, top-p, min-p, temperature, and a random choice."""

    def __init__(self, model: Model, sampling: Sampling, seed: int) -> None:
        """`seed` takes precedence over `sampling.seed`; temperature 0 takes the likeliest token."""
        self._chain: Any = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())
        if sampling.repeat_penalty != 1.0:
            penalty = sampling.repeat_penalty
            self._add(lib.llama_sampler_init_penalties(model.n_vocab, PENALTY_WINDOW_TOK, penalty, 0.0, 0.0))
        if sampling.temperature <= 0:
            self._add(lib.llama_sampler_init_greedy())
            return
        if sampling.top_k > 0:
            self._add(lib.llama_sampler_init_top_k(sampling.top_k))
        self._add(lib.llama_sampler_init_top_p(sampling.top_p, 1))
        self._add(lib.llama_sampler_init_min_p(sampling.min_p, 1))
        self._add(lib.llama_sampler_init_temp(sampling.temperature))
        self._add(lib.llama_sampler_init_dist(seed))

    def _add(self, sampler: Any) -> None:
        lib.llama_sampler_chain_add(self._chain, sampler)

    def sample(self, context: Context, output: int = -1) -> int:
        """The next token after entry `output` of the last batch; the penalties remember it."""
        return int(lib.llama_sampler_sample(self._chain, context.handle, output))

    def close(self) -> None:
        """Free the chain."""
        lib.llama_sampler_free(self._chain)
