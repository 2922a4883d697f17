"""Models and contexts: thin, typed objects over the C calls of llama.cpp that the engine makes.

Two traps shape it: a failed assertion inside llama.cpp ends the process (so every argument is checked before the call),
and a context is not safe to use from two threads.
"""

import ctypes
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chatapp import processors
from chatapp.engine.native import load_log
from chatapp.engine.native.abort import AbortFlag
from chatapp.engine.native.binding import lib, library_versions
from chatapp.engine.native.cache_types import cache_type
from chatapp.engine.native.log import NativeLog
from chatapp.engine.native.vocabulary import Vocabulary, pointer
from chatapp.errors import ModelError
from chatapp.protocol.values import CacheSettings, EngineSettings

NO_CELL: Final = 1
"""llama_decode's status where it finds no free cell."""
ABORTED: Final = 2
"""llama_decode's status where it was stopped: none of the tokens is in the cache."""
FLASH_ATTENTION: Final = {"auto": -1, "off": 0, "on": 1}

_LOG: Final = NativeLog()


@cache  # llama.cpp keeps its address
def _log() -> Any:
    @lib.llama_log_callback
    def write(level: int, text: bytes, _user: ctypes.c_void_p) -> None:
        _LOG.write(level, text)

    return write


def init() -> None:
    """Start llama.cpp's backends and send its log to standard error. Call once per process."""
    lib.llama_log_set(_log(), ctypes.c_void_p(0))
    lib.llama_backend_init()


def versions() -> tuple[str, str, str]:
    """Version of llama-cpp-python, version of llama.cpp, and its line of build features; "" where it tells none."""
    info = lib.llama_print_system_info().decode() if hasattr(lib, "llama_print_system_info") else ""
    return *library_versions(), info


def supports_gpu() -> bool:
    """True where this build can offload layers."""
    return bool(lib.llama_supports_gpu_offload())


class Model(Vocabulary):
    """Loaded weights and vocabulary."""

    def __init__(
        self,
        path: Path,
        *,
        gpu_layers: int = -1,
        vocab_only: bool = False,
        on_progress: Callable[[float], bool] | None = None,
    ) -> None:
        """Load `path`, or of it the vocabulary only; `gpu_layers` -1 offloads all where there is a GPU. `on_progress`
        gets 0..1 and returns False to stop. ModelError where llama.cpp cannot load it; its reason is in the log and in
        the message.
        """
        params = lib.llama_model_default_params()
        params.n_gpu_layers = gpu_layers
        params.vocab_only = vocab_only

        @lib.llama_progress_callback
        def progress(fraction: float, _user: ctypes.c_void_p) -> bool:
            return on_progress(fraction) if on_progress else True

        params.progress_callback = progress
        with _LOG.captured() as log:
            handle = lib.llama_model_load_from_file(str(path).encode(), params)
        if handle is None:
            raise ModelError(
                f"{path}: llama.cpp cannot load this model: {load_log.reason(''.join(log))}.", "Choose another file."
            )
        self.path = path
        self.log = "".join(log)
        self._own(handle)
        self._vocab: Any = lib.llama_model_get_vocab(handle)
        self.n_vocab = int(lib.llama_vocab_n_tokens(self._vocab))
        self.n_swa = int(lib.llama_model_n_swa(handle))
        self.n_ctx_train = int(lib.llama_model_n_ctx_train(handle))
        self.n_params = int(lib.llama_model_n_params(handle))
        name = lib.llama_ftype_name(lib.llama_model_ftype(handle))
        self.quantization = name.decode(errors="replace") if name else None


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """A token of a batch; `wanted`: its logits are computed."""

    token: int
    pos: int
    sequence: int
    wanted: bool = False


class Context:
    """A KV cache, and the compute buffers to run the model on it.

    It has one sequence, or several that share cells (`kv_unified`). All calls act on the sequence in use: 0, or the one
    that `use` was called with last.
    """

    def __init__(
        self,
        model: Model,
        cache: CacheSettings,
        engine: EngineSettings,
        *,
        n_outputs: int = 1,
        n_sequences: int = 1,
        callback: Any | None = None,
    ) -> None:
        """Allocate. `n_outputs` is how many tokens of one batch may ask for logits: each costs 4 bytes x vocabulary x
        micro-batch of compute buffer. UserError for an unknown setting, ModelError where llama.cpp
        refuses the context. `callback` is as for chatapp.engine.native.scheduler_hook, and called in every decode.
        """
        params = lib.llama_context_default_params()
        if callback is not None:
            params.cb_eval = callback
        params.n_ctx = cache.n_ctx
        params.n_batch = params.n_ubatch = cache.micro_batch
        params.n_outputs_max = max(n_outputs, n_sequences)  # llama.cpp asserts one for each sequence
        params.n_seq_max = n_sequences
        params.kv_unified = n_sequences > 1
        params.n_threads = params.n_threads_batch = engine.threads or processors.usable().fast
        params.type_k, params.type_v = cache_type(cache.type_k), cache_type(cache.type_v)
        params.flash_attn_type = FLASH_ATTENTION[engine.flash_attention]
        params.swa_full = cache.swa_full
        params.no_perf = True
        with _LOG.captured() as log:
            handle = lib.llama_init_from_model(model.handle, params)
        if handle is None:
            raise ModelError(
                f"llama.cpp cannot make this cache: {load_log.reason(''.join(log))}.",
                "Try another window or cache type.",
            )
        self.log = "".join(log)
        self.on_decoded: Callable[[int, float], None] | None = None
        """Told of each decode's number of tokens and its seconds."""
        self._handle: Any = handle
        self._memory: Any = lib.llama_get_memory(handle)
        self._vocab_size = model.n_vocab
        self._n_batch = cache.micro_batch
        self._batch: Any = lib.llama_batch_init(self._n_batch, 0, 1)
        for i in range(self._n_batch):
            self._batch.n_seq_id[i] = 1
        self.n_sequences = n_sequences
        self.n_outputs = max(n_outputs, n_sequences)
        self.use(0)
        self.n_ctx = int(lib.llama_n_ctx(handle))
        self.abort = AbortFlag(handle)

    def close(self) -> None:
        """Free the cache."""
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._handle)

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        """Run `tokens` (at most a micro-batch) at positions pos, pos + 1, ...; `logits` is "none", "last" or "all".

        Returns llama_decode's status: 0 done, 1 no free cells, 2 aborted, below 0 an error.
        """
        batch, count = self._batch, len(tokens)
        if not 0 < count <= self._n_batch:
            raise ValueError(f"{count} tokens in a batch of {self._n_batch}")
        batch.n_tokens = count
        for i, token in enumerate(tokens):
            batch.token[i] = token
            batch.pos[i] = pos + i
            batch.logits[i] = logits == "all"
        batch.logits[count - 1] = logits != "none"
        began = time.perf_counter()
        status = int(lib.llama_decode(self._handle, batch))
        if self.on_decoded is not None and not status:
            self.on_decoded(count, time.perf_counter() - began)
        return status

    def decode_entries(self, entries: Sequence[BatchEntry]) -> int:
        """Run tokens of several sequences in one batch; none sees another sequence's. The status is `decode`'s."""
        batch = self._batch
        batch.n_tokens = len(entries)
        for i, entry in enumerate(entries):
            batch.token[i], batch.pos[i], batch.logits[i] = entry.token, entry.pos, entry.wanted
            batch.seq_id[i][0] = entry.sequence
        status = int(lib.llama_decode(self._handle, batch))
        self.use(self.sequence)
        return status

    def use(self, sequence: int) -> None:
        """Make all later calls act on this sequence."""
        self.sequence = sequence
        for i in range(self._n_batch):
            self._batch.seq_id[i][0] = sequence

    def share(self, other: int, p1: int) -> None:
        """Share the cells at positions [0, p1) with the sequence `other`. A later `renumber` shifts them for both: a
        shared cell has one position (llama-kv-cells.h, pos_add).
        """
        lib.llama_memory_seq_cp(self._memory, self.sequence, other, 0, p1)

    def release(self, sequence: int) -> None:
        """Remove all cells of this sequence; cells that it shares stay in the other ones."""
        lib.llama_memory_seq_rm(self._memory, sequence, -1, -1)

    def set_threads(self, decode: int, prefill: int) -> None:
        """CPU threads for decodes of one token, and of several. The results are the same with any number."""
        lib.llama_set_n_threads(self._handle, decode, prefill)

    @property
    def n_threads(self) -> int:
        """CPU threads that a decode uses."""
        return int(lib.llama_n_threads(self._handle))

    def synchronize(self) -> None:
        """Wait for the last decode, so that times are right on a GPU."""
        lib.llama_synchronize(self._handle)

    def logits(self, count: int) -> npt.NDArray[np.float32]:
        """The last decode's logits of its first `count` outputs, (count, n_vocab), until the next decode."""
        return np.ctypeslib.as_array(lib.llama_get_logits(self._handle), shape=(count, self._vocab_size))

    def remove(self, p0: int, p1: int) -> bool:
        """Remove the cells at positions [p0, p1), -1 for no end. False where llama.cpp cannot (a recurrent state)."""
        return bool(lib.llama_memory_seq_rm(self._memory, self.sequence, p0, p1))

    def renumber(self, p0: int, delta: int) -> None:
        """Add `delta` to the positions from p0 on. The keys rotate inside the next decode."""
        lib.llama_memory_seq_add(self._memory, self.sequence, p0, -1, delta)

    def clear(self) -> None:
        """Remove every cell of every sequence."""
        lib.llama_memory_clear(self._memory, False)

    @property
    def exists(self) -> bool:
        """False for a model without a cache; no method for the cache may be called then."""
        return self._memory is not None

    @property
    def can_shift(self) -> bool:
        """llama_memory_can_shift. It is False for a pruned SWA cache, although both of its parts can be shifted."""
        return bool(lib.llama_memory_can_shift(self._memory))

    @property
    def positions(self) -> tuple[int, int] | None:
        """Smallest and largest position in the cache (of the SWA cells, in a hybrid), None when it is empty."""
        return self.positions_of(self.sequence)

    def positions_of(self, sequence: int) -> tuple[int, int] | None:
        """The same for any sequence."""
        low = int(lib.llama_memory_seq_pos_min(self._memory, sequence))
        high = int(lib.llama_memory_seq_pos_max(self._memory, sequence))
        return None if low < 0 or high < 0 else (low, high)

    def state(self, *, part: bool = False) -> bytes:
        """The sequence's cells as llama.cpp writes them; cells behind a sliding window are not in it.

        With `part`, only what a cut cannot bring back: the sliding layers' cells, or a recurrent state.
        """
        flags = lib.llama_state_seq_flags(lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY if part else 0)
        size = int(lib.llama_state_seq_get_size_ext(self._handle, self._sequence_id, flags))
        data = np.empty(size, np.uint8)
        written = int(lib.llama_state_seq_get_data_ext(self._handle, pointer(data), size, self._sequence_id, flags))
        return data[:written].tobytes()

    def restore(self, state: bytes | memoryview, *, part: bool = False) -> bool:
        """Replace the sequence's cells with a saved state. False where llama.cpp rejects it."""
        flags = lib.llama_state_seq_flags(lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY if part else 0)
        data = np.frombuffer(state, np.uint8)
        done = lib.llama_state_seq_set_data_ext(self._handle, pointer(data), len(data), self._sequence_id, flags)
        return int(done) > 0

    def cell_positions(self, count: int, *, sliding: bool = False) -> npt.NDArray[np.int32] | None:
        """The positions that the sequence's cells hold, by cell: those of the sliding layers, or of the others.

        A sliding layer's cells that the newest token does not see are omitted. None where there are not `count` cells,
        or where a token has several positions. This is the head of the state that llama.cpp saves (llama-kv-cache.cpp,
        state_write_meta): with a buffer no longer than the head it stops before the first key, and logs that.
        """
        flags = lib.llama_state_seq_flags(lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY if sliding else 0)
        size = 16 + 12 * count  # magic, sequence, streams, cells; of each cell its position, one sequence, its number
        data = np.zeros(size, np.uint8)
        with _LOG.muted():
            lib.llama_state_seq_get_data_ext(self._handle, pointer(data), size, self._sequence_id, flags)
        words = data.view(np.int32)
        cells = words[4:].reshape(count, 3)
        expected = words[2] == 1 and words[3] == count and (cells[:, 1:] == (1, self.sequence)).all()
        return cells[:, 0].copy() if expected else None

    @property
    def _sequence_id(self) -> Any:
        return lib.llama_seq_id(self.sequence)

    @property
    def handle(self) -> Any:
        """The llama_context pointer."""
        return self._handle
