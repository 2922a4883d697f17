"""llama.cpp in the test's own process: the engine's objects, and plain calls that know nothing of them."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import llama_cpp as lib
import numpy as np
import numpy.typing as npt

from chatapp.engine.kv.cache import KvCache
from chatapp.engine.kv.prefill_plan import CacheRules
from chatapp.engine.native.llama import Context, Model
from chatapp.protocol.events import Evicted
from chatapp.protocol.values import CacheSettings, EngineSettings

Logits = npt.NDArray[np.float64]
THREADS = 2


class Plain:
    """A context made and driven by llama_cpp alone: one sequence, one batch after another."""

    def __init__(self, model: Model, n_ctx: int, micro_batch: int) -> None:
        params = lib.llama_context_default_params()
        params.n_ctx = n_ctx
        params.n_batch = params.n_ubatch = micro_batch
        params.n_threads = params.n_threads_batch = THREADS
        params.swa_full = False
        self._context: Any = lib.llama_init_from_model(model.handle, params)
        self._memory: Any = lib.llama_get_memory(self._context)
        self._n_vocab = model.n_vocab
        self._batch: Any = lib.llama_batch_init(micro_batch, 0, 1)

    def decode(self, tokens: Sequence[int], pos: int) -> None:
        self._batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            self._batch.token[i] = token
            self._batch.pos[i] = pos + i
            self._batch.n_seq_id[i] = 1
            self._batch.seq_id[i][0] = 0
            self._batch.logits[i] = i == len(tokens) - 1
        assert lib.llama_decode(self._context, self._batch) == 0

    def remove(self, p0: int, p1: int) -> bool:
        return bool(lib.llama_memory_seq_rm(self._memory, 0, p0, p1))

    def move(self, p0: int, delta: int) -> None:
        lib.llama_memory_seq_add(self._memory, 0, p0, -1, delta)

    @property
    def positions(self) -> tuple[int, int]:
        return (
            int(lib.llama_memory_seq_pos_min(self._memory, 0)),
            int(lib.llama_memory_seq_pos_max(self._memory, 0)),
        )

    @property
    def logits(self) -> Logits:
        row = np.ctypeslib.as_array(lib.llama_get_logits_ith(self._context, -1), shape=(self._n_vocab,))
        return np.array(row, dtype=np.float64)

    def close(self) -> None:
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)


@contextmanager
def plain(model: Model, n_ctx: int, micro_batch: int) -> Generator[Plain]:
    context = Plain(model, n_ctx, micro_batch)
    try:
        yield context
    finally:
        context.close()


class Recorded(Context):
    """The engine's context, with a note of each decode: the tokens and their first position."""

    def __init__(self, model: Model, cache: CacheSettings) -> None:
        super().__init__(model, cache, EngineSettings(threads=THREADS))
        self.notes: list[tuple[tuple[int, ...], int] | Evicted] = []

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        self.notes.append((tuple(tokens), pos))
        return super().decode(tokens, pos, logits=logits)

    @property
    def last(self) -> Logits:
        return self.logits(1)[0].astype(np.float64)


@contextmanager
def kv(model: Model, cache: CacheSettings, *, policy: str = "sinks") -> Generator[tuple[KvCache, Recorded]]:
    """The engine's cache with its ledger, on a context that takes notes."""
    context = Recorded(model, cache)
    try:
        yield (
            KvCache(
                context,
                CacheRules.of(
                    policy=policy,
                    n_sink=cache.sinks,
                    share=cache.evict_share,
                    chunk=cache.micro_batch,
                    n_ctx=context.n_ctx,
                    n_swa=model.n_swa or None,
                    max_pos=model.n_ctx_train,
                ),
                can_cut=True,
                on_evicted=context.notes.append,
                cancelled=lambda: False,
            ),
            context,
        )
    finally:
        context.close()


def divergence(p: Logits, q: Logits) -> float:
    """Kullback-Leibler divergence of two next-token distributions, in nats."""
    log_p, log_q = (row - row.max() - np.log(np.exp(row - row.max()).sum()) for row in (p, q))
    return float((np.exp(log_p) * (log_p - log_q)).sum())
