"""YaRN and shifting: llama.cpp applies YaRN's magnitude anew at each rotation of stored keys; the engine rotates none.

YaRN scales queries and keys by 1 + 0.1 ln(factor) (arXiv 2309.00071, section 3.4; ggml's rope_yarn). llama.cpp rotates
stored keys with the same operation, and all of them, so a shift multiplies even the keys that do not move.
"""

import math
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from chatapp.engine.kv.prefill_plan import Piece, Prefill
from chatapp.engine.native import llama
from chatapp.engine.native.cache_types import CACHE_TYPES
from chatapp.engine.native.llama import Context, Model
from chatapp.engine.planning.load_plan import prepare
from chatapp.errors import UserError
from chatapp.protocol.events import Evicted
from chatapp.protocol.values import CacheSettings, EngineSettings
from tests.support.engine.inprocess import THREADS, kv
from tests.support.tiny_gguf import N_VOCAB
from tests.support.tiny_models import tiny

CACHE = CacheSettings(n_ctx=256, micro_batch=32, type_k="f32", type_v="f32")
N_SINK = CACHE.sinks
FACTOR = 4.0
MAGNITUDE = 1 + 0.1 * math.log(FACTOR)
GAP = 16
TOKENS = [int(token) for token in np.random.default_rng(3).integers(5, N_VOCAB, 5000)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    llama.init()
    return tmp_path_factory.mktemp("tiny")


@pytest.fixture(scope="module")
def yarn(folder: Path) -> Iterator[Model]:
    model = Model(tiny("llama-yarn", folder), gpu_layers=0)
    yield model
    model.close()


def keys(context: Context) -> tuple[list[int], npt.NDArray[np.float32]]:
    """The position of each cell, and its stored K as (layer, cell, head_dim), in order of position.

    Read from the state of a sequence, in llama.cpp's own layout (llama-kv-cache.cpp, state_write_meta and
    state_write_data; one stream, F32).
    """
    state, at = context.state(), 8  # a magic number and the sequence

    def take(form: str) -> tuple[int, ...]:
        nonlocal at
        values = struct.unpack_from(f"<{form}", state, at)
        at += struct.calcsize(f"<{form}")
        return values

    n_stream, n_cells = take("II")
    assert n_stream == 1
    places: list[int] = []
    for _ in range(n_cells):
        place, n_sequences, sequence = take("iIi")
        assert (n_sequences, sequence) == (1, 0)
        places.append(place)
    _, n_layer = take("II")
    layers: list[npt.NDArray[np.float32]] = []
    for _ in range(n_layer):
        kind, row_bytes = take("iQ")
        assert kind == CACHE_TYPES["f32"]
        rows = np.frombuffer(state, np.float32, n_cells * row_bytes // 4, at)
        layers.append(rows.reshape(n_cells, -1))
        at += n_cells * row_bytes
    order = np.argsort(places)
    return sorted(places), np.stack(layers)[:, order]


def sink_norms(context: Context) -> npt.NDArray[np.float64]:
    """Length of the stored K of each sink, (layer, sink)."""
    places, rows = keys(context)
    assert places[:N_SINK] == list(range(N_SINK))
    return np.linalg.norm(rows[:, :N_SINK].astype(np.float64), axis=-1)


def test_plain_llama_cpp_makes_the_sinks_grow_with_every_shift(yarn: Model) -> None:
    """The sinks do not even move. At factor 4 they are 1.139, 1.296 and 1.476 times as long after three shifts."""
    context = Context(yarn, CACHE, EngineSettings(threads=THREADS))
    pos = 0
    while pos < 256:
        assert context.decode(TOKENS[pos : pos + 32], pos) == 0
        pos += 32
    before = sink_norms(context)
    assert before.min() > 0
    for shifts in (1, 2, 3):
        assert context.remove(N_SINK, N_SINK + GAP)
        context.renumber(N_SINK + GAP, -GAP)
        pos -= GAP
        assert context.decode(TOKENS[256 + shifts : 257 + shifts], pos) == 0
        pos += 1
        assert np.allclose(sink_norms(context), before * MAGNITUDE**shifts, rtol=1e-5)
    context.close()


def test_the_same_shift_leaves_keys_without_yarn_as_long_as_they_were(folder: Path) -> None:
    """So it is YaRN that makes them grow, and not this way to measure."""
    model = Model(tiny("llama", folder), gpu_layers=0)
    with kv(model, CACHE, policy="sinks") as (engine, context):
        engine.prefill(Prefill([Piece(1, "user", tuple(TOKENS[:128]))]))
        before = sink_norms(context)
        engine.prefill(Prefill([Piece(2, "user", tuple(TOKENS[128:1000]))]))
        assert engine.shifts > 10
        assert np.allclose(sink_norms(context), before, rtol=1e-5)
    model.close()


def test_slide_leaves_every_sink_as_it_was(yarn: Model) -> None:
    """To the bit, over dozens of evictions. At the trained limit the cache is made again, once, and they are equal."""
    with kv(yarn, CACHE, policy="slide") as (engine, context):
        engine.prefill(Prefill([Piece(1, "user", tuple(TOKENS[:128]))]))
        _, first = keys(context)
        engine.prefill(Prefill([Piece(2, "user", tuple(TOKENS[128:4000]))]))
        evictions = [note for note in context.notes if isinstance(note, Evicted)]
        assert len(evictions) > 50
        assert not any(note.renumbered or note.reprocessed_tokens for note in evictions)
        places, rows = keys(context)
        assert places[N_SINK] > 3000
        assert np.array_equal(rows[:, :N_SINK], first[:, :N_SINK])

        engine.prefill(Prefill([Piece(2, "user", tuple(TOKENS[4000:]))]))
        rebuilt = [note for note in context.notes if isinstance(note, Evicted) and note.reprocessed_tokens]
        assert len(rebuilt) == 1
        assert engine.ledger.next_pos < yarn.n_ctx_train == 4096
        assert engine.mismatch() is None
        _, rows = keys(context)
        assert np.abs(rows[:, :N_SINK] - first[:, :N_SINK]).max() < 1e-4 * np.abs(first[:, :N_SINK]).max()


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("llama-yarn", "YaRN's magnitude"),
        ("gpt-oss", "YaRN's magnitude"),
        ("granite-sinks", "learned sinks"),
        ("qwen2vl", "M-RoPE"),
    ],
)
def test_renumbering_is_never_chosen_and_refused_with_the_reason(folder: Path, name: str, why: str) -> None:
    """By `auto`, and where a person asks for `sinks` all the same."""
    chosen = prepare(tiny(name, folder), CACHE).capability
    assert chosen.policy == "slide"
    assert why in chosen.policy_why
    asked = CacheSettings(n_ctx=256, policy="sinks")
    with pytest.raises(UserError) as refused:
        prepare(tiny(name, folder), asked)
    assert why in refused.value.what
    assert refused.value.todo == "Use --policy slide."
