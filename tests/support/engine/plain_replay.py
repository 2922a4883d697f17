"""What the engine did to its cache, done again by plain llama.cpp calls in a cache that forgets nothing.

`Noted` is the engine's context, with a note of every call. `Replay` is a fresh context of llama_cpp's own, with
`swa_full`: it is fed the notes one at a time, keeps its own account of which token is at which position, and so shares
neither the engine's ledger nor the holes of a pruned window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import llama_cpp as lib
import numpy as np

from chatapp.engine.native.llama import Context, Model
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.engine.inprocess import Logits


@dataclass(frozen=True)
class Decoded:
    sequence: int
    tokens: tuple[int, ...]
    pos: int
    logits: Logits | None


@dataclass(frozen=True)
class Removed:
    sequence: int
    p0: int
    p1: int


@dataclass(frozen=True)
class Moved:
    sequence: int
    p0: int
    delta: int


@dataclass(frozen=True)
class Shared:
    sequence: int
    other: int
    p1: int


@dataclass(frozen=True)
class Saved:
    """A state was read: all of it, or the part that a roll-back cannot bring back."""

    sequence: int
    state: bytes
    part: bool


@dataclass(frozen=True)
class Loaded:
    sequence: int
    state: bytes
    part: bool


@dataclass(frozen=True)
class Cleared:
    pass


Cells = dict[int, tuple[int, int]]
Note = Decoded | Removed | Moved | Shared | Saved | Loaded | Cleared


class Noted(Context):
    """The engine's context; `notes` are the calls since somebody took them."""

    def __init__(
        self, model: Model, cache: CacheSettings, engine: EngineSettings, *, n_outputs: int = 1, n_sequences: int = 1
    ) -> None:
        super().__init__(model, cache, engine, n_outputs=n_outputs, n_sequences=n_sequences)
        self.notes: list[Note] = []

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        status = super().decode(tokens, pos, logits=logits)
        if status == 0:
            row = np.array(self.logits(1)[0], dtype=np.float64) if logits == "last" else None
            self.notes.append(Decoded(self.sequence, tuple(tokens), pos, row))
        return status

    def remove(self, p0: int, p1: int) -> bool:
        self.notes.append(Removed(self.sequence, p0, p1))
        return super().remove(p0, p1)

    def renumber(self, p0: int, delta: int) -> None:
        self.notes.append(Moved(self.sequence, p0, delta))
        super().renumber(p0, delta)

    def share(self, other: int, p1: int) -> None:
        self.notes.append(Shared(self.sequence, other, p1))
        super().share(other, p1)

    def release(self, sequence: int) -> None:
        self.notes.append(Removed(sequence, 0, -1))
        super().release(sequence)

    def clear(self) -> None:
        self.notes.append(Cleared())
        super().clear()

    def state(self, *, part: bool = False) -> bytes:
        state = super().state(part=part)
        self.notes.append(Saved(self.sequence, state, part))
        return state

    def restore(self, state: bytes | memoryview, *, part: bool = False) -> bool:
        self.notes.append(Loaded(self.sequence, bytes(state), part))
        return super().restore(state, part=part)


class Replay:
    """Plain calls on a fresh context. `held` is kept by hand: for each sequence and position a token and its cell."""

    def __init__(self, model: Model, n_ctx: int, n_sequences: int, micro_batch: int, *, forgets: bool = False) -> None:
        """One that `forgets` goes back to states that it kept: a recurrent one cannot be cut, and a sliding window's
        cells are taken as soon as no window needs them, also where `swa_full` gives it as many as there are tokens.
        """
        self._forgets = forgets
        params = lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = n_ctx, micro_batch, micro_batch
        params.n_threads = params.n_threads_batch = 1
        params.n_seq_max, params.kv_unified = n_sequences, n_sequences > 1
        params.swa_full = True
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED  # it rounds by the size of the batch
        params.type_k = params.type_v = lib.GGML_TYPE_F32
        self._context: Any = lib.llama_init_from_model(model.handle, params)
        self._memory: Any = lib.llama_get_memory(self._context)
        self._n_vocab = model.n_vocab
        self._batch: Any = lib.llama_batch_init(micro_batch, 0, 1)
        self.held: dict[int, Cells] = {}
        self._saved: dict[bytes, tuple[Cells, bytes]] = {}
        self._numbers = count()

    def tokens(self, sequence: int) -> dict[int, int]:
        """Token by position."""
        return {pos: token for pos, (token, _) in self.held.get(sequence, {}).items()}

    @property
    def n_cells(self) -> int:
        """Cells that any sequence holds."""
        return len({cell for held in self.held.values() for _, cell in held.values()})

    def close(self) -> None:
        lib.llama_batch_free(self._batch)
        lib.llama_free(self._context)

    def decode(self, sequence: int, tokens: Sequence[int], pos: int) -> Logits:
        """The logits after the last token."""
        self._batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            self._batch.token[i], self._batch.pos[i] = token, pos + i
            self._batch.n_seq_id[i], self._batch.seq_id[i][0] = 1, sequence
            self._batch.logits[i] = i == len(tokens) - 1
        assert lib.llama_decode(self._context, self._batch) == 0
        row = np.ctypeslib.as_array(lib.llama_get_logits_ith(self._context, -1), shape=(self._n_vocab,))
        new = {pos + i: (token, next(self._numbers)) for i, token in enumerate(tokens)}
        self.held.setdefault(sequence, {}).update(new)
        return np.array(row, dtype=np.float64)

    def remove(self, sequence: int, p0: int, p1: int) -> None:
        assert lib.llama_memory_seq_rm(self._memory, sequence, p0, p1)
        held = self.held.get(sequence, {})
        self.held[sequence] = {pos: cell for pos, cell in held.items() if pos < p0 or 0 <= p1 <= pos}

    def apply(self, note: Note) -> float:
        """Do it; how far the engine's logits are from these, 0 where it asked for none."""
        match note:
            case Decoded(sequence, tokens, pos, logits):
                row = self.decode(sequence, tokens, pos)
                return 0.0 if logits is None else float(np.abs(row - logits).max())
            case Removed(sequence, p0, p1):
                self.remove(sequence, p0, p1)
            case Moved(sequence, p0, delta):
                lib.llama_memory_seq_add(self._memory, sequence, p0, -1, delta)
                held = self.held[sequence]
                self.held[sequence] = {pos + delta if pos >= p0 else pos: cell for pos, cell in held.items()}
                others = [self.held[other] for other in self.held if other != sequence and self.held[other]]
                assert not others, "a renumbering moves the cells that another sequence holds, too"
            case Shared(sequence, other, p1):
                lib.llama_memory_seq_cp(self._memory, sequence, other, 0, p1)
                self.held[other] = {pos: cell for pos, cell in self.held[sequence].items() if pos < p1}
            case Saved(_, _, True) | Loaded(_, _, True) if not self._forgets:
                pass  # nothing was lost here: the removal after it says the same
            case Saved(sequence, state):
                size = int(lib.llama_state_seq_get_size(self._context, lib.llama_seq_id(sequence)))
                buffer = (lib.ctypes.c_uint8 * size)()
                lib.llama_state_seq_get_data(self._context, buffer, size, lib.llama_seq_id(sequence))
                self._saved[state] = (dict(self.held.get(sequence, {})), bytes(buffer))
            case Loaded(sequence, state, part):
                held, state = self._saved[state]
                buffer = (lib.ctypes.c_uint8 * len(state)).from_buffer_copy(state)
                assert lib.llama_state_seq_set_data(self._context, buffer, len(state), lib.llama_seq_id(sequence))
                if part:  # the cells of the global layers stay where they are
                    self.held[sequence] = dict(held)
                else:
                    self.held[sequence] = {pos: (token, next(self._numbers)) for pos, (token, _) in held.items()}
            case Cleared():
                lib.llama_memory_clear(self._memory, True)
                self.held.clear()
        return 0.0
