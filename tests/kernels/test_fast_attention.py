"""The fast attention against its slow twin: shapes, windows, sinks, orders of the cells, and what a cache stores."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from kernels import RollingBuffer, dequantize, prefill_chunked, sinks_and_window
from kernels.fast import CacheRows, attend_window
from kernels.fast.rows import KINDS, Kind
from tests.kernels.draws import n_sinks, seeds
from tests.kernels.rounding import assert_as_exact_as_naive


@dataclass(frozen=True)
class Shape:
    n_head: int
    n_kv_head: int
    head_dim: int
    v_dim: int


SHAPES = [Shape(1, 1, 1, 1), Shape(4, 4, 16, 16), Shape(9, 3, 64, 64), Shape(6, 2, 18, 7), Shape(8, 1, 128, 96)]


def draw(shape: Shape, n_query: int, n_key: int, seed: int = 0) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Scores of a few units either way, so that a wrong mask or a wrong head is seen."""
    random = np.random.default_rng(seed)
    q = 2 * random.normal(size=(shape.n_head, n_query, shape.head_dim))
    k = random.normal(size=(shape.n_kv_head, n_key, shape.head_dim))
    v = random.normal(size=(shape.n_kv_head, n_key, shape.v_dim))
    return q.astype(np.float32), k.astype(np.float32), v.astype(np.float32)


@pytest.mark.parametrize(("softcap", "learned"), [(None, False), (3.0, True)])
@pytest.mark.parametrize(("window", "n_sink"), [(1, 0), (37, 4), (64, 0), (60, 140), (1000, 0)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_prompt(shape: Shape, window: int, n_sink: int, softcap: float | None, learned: bool) -> None:
    """201 tokens are several tiles of queries and of keys, none of them whole; 140 sinks are more than a tile."""
    q, k, v = draw(shape, 201, 201)
    tokens = np.arange(201)
    sinks = np.linspace(-2, 2, shape.n_head) if learned else None
    options: dict[str, Any] = {"scale": 1 / math.sqrt(shape.head_dim), "softcap": softcap}
    out = attend_window(q, k, v, tokens, tokens, window=window, n_sink=n_sink, sink_logits=sinks, **options)
    mask = sinks_and_window(tokens, tokens, window, n_sink)
    assert_as_exact_as_naive(out, q, k, v, mask, sinks=sinks, **options)


@pytest.mark.parametrize(("softcap", "learned"), [(None, False), (3.0, True)])
@pytest.mark.parametrize(("window", "n_sink"), [(1, 0), (37, 4), (64, 0), (1500, 9)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_token(shape: Shape, window: int, n_sink: int, softcap: float | None, learned: bool) -> None:
    """1,203 cells are several parts, and no multiple of four."""
    q, k, v = draw(shape, 1, 1203)
    cells = np.random.default_rng(1).permutation(1203)
    sinks = np.linspace(-2, 2, shape.n_head) if learned else None
    options: dict[str, Any] = {"scale": 1 / math.sqrt(shape.head_dim), "softcap": softcap}
    now = np.array([1100])
    out = attend_window(q, k, v, now, cells, window=window, n_sink=n_sink, sink_logits=sinks, **options)
    assert_as_exact_as_naive(out, q, k, v, sinks_and_window(now, cells, window, n_sink), sinks=sinks, **options)


@settings(max_examples=60)
@given(
    seed=seeds,
    window=st.integers(1, 40),
    n_sink=n_sinks,
    sizes=st.lists(st.integers(1, 30), min_size=1, max_size=6),
)
def test_a_prompt_in_chunks_and_tokens_on_a_ring(seed: int, window: int, n_sink: int, sizes: list[int]) -> None:
    """Whatever comes, chunk or token, onto a ring whose cells are out of order or empty: the twin on the whole prompt.

    A chunk meets the ring and itself; a token alone enters the ring first.
    """
    q, k, v = draw(Shape(4, 2, 8, 8), sum(sizes), sum(sizes), seed)
    keys = RollingBuffer(window, n_sink=n_sink, shape=(2, 8), dtype=np.float32)
    values = RollingBuffer(window, n_sink=n_sink, shape=(2, 8), dtype=np.float32)
    keys.cells[...] = values.cells[...] = np.nan  # what nobody wrote must not be read
    outputs: list[NDArray[np.float32]] = []
    start = 0
    for size in sizes:
        now = slice(start, start + size)
        here = np.arange(start, start + size)
        if size == 1:
            keys.append(k[:, now].swapaxes(0, 1))
            values.append(v[:, now].swapaxes(0, 1))
            seen_k, seen_v, at = keys.cells.swapaxes(0, 1), values.cells.swapaxes(0, 1), keys.positions
        else:
            seen_k = np.concatenate([keys.cells.swapaxes(0, 1), k[:, now]], axis=1)
            seen_v = np.concatenate([values.cells.swapaxes(0, 1), v[:, now]], axis=1)
            at = np.concatenate([keys.positions, here])
        outputs.append(attend_window(q[:, now], seen_k, seen_v, here, at, window=window, n_sink=n_sink))
        if size > 1:
            keys.append(k[:, now].swapaxes(0, 1))
            values.append(v[:, now].swapaxes(0, 1))
        start += size
    whole = prefill_chunked(q, k, v, window=window, chunk=1000, n_sink=n_sink)
    np.testing.assert_allclose(np.concatenate(outputs, axis=1), whole, atol=2e-6)


def stored(values: NDArray[np.float32], kind: Kind) -> CacheRows:
    """`(n_kv_head, n_cell, dim)` as llama.cpp keeps it: cell by cell, the heads of a cell side by side."""
    n_head, n_cell, dim = values.shape
    by_cell = np.ascontiguousarray(values.swapaxes(0, 1))
    if kind == "Q8_0":
        scales: NDArray[np.float16] = (np.abs(by_cell).reshape(-1, 32).max(axis=1, keepdims=True) / 127).astype(
            np.float16
        )
        codes: NDArray[np.int8] = np.round(by_cell.reshape(-1, 32) / scales.astype(np.float32)).astype(np.int8)
        data: NDArray[np.uint8] = np.concatenate([scales.view(np.uint8), codes.view(np.uint8)], axis=1)
    elif kind == "BF16":
        data = (by_cell.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    else:
        data = by_cell.astype({"F32": np.float32, "F16": np.float16}[kind]).view(np.uint8)
    row_bytes = data.size // (n_head * n_cell)
    return CacheRows(data.ravel(), kind, n_head, n_cell, dim, head_bytes=row_bytes, cell_bytes=row_bytes * n_head)


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_what_gguf_reads(kind: Kind) -> None:
    """The reference side of every comparison below: `floats` against the package that knows ggml's types."""
    rows = stored(draw(Shape(2, 2, 64, 1), 1, 5)[1], kind)
    whole = rows.data.reshape(rows.n_cell, rows.n_head, rows.row_bytes)
    np.testing.assert_array_equal(rows.floats(), dequantize(whole, kind).swapaxes(0, 1))


@pytest.mark.parametrize("n_query", [1, 50])
@pytest.mark.parametrize("v_kind", KINDS)
@pytest.mark.parametrize("k_kind", KINDS)
def test_every_kind_of_cache_is_read_in_place(k_kind: Kind, v_kind: Kind, n_query: int) -> None:
    q, k, v = draw(Shape(4, 2, 64, 32), n_query, 90)
    keys, values = stored(k, k_kind), stored(v, v_kind)
    tokens = np.arange(90)
    out = attend_window(q, keys, values, tokens[-n_query:], tokens, window=30, n_sink=2, scale=0.1)
    mask = sinks_and_window(tokens[-n_query:], tokens, 30, 2)
    assert_as_exact_as_naive(out, q, keys.floats(), values.floats(), mask, scale=0.1)


@pytest.mark.parametrize("n_query", [1, 5])
def test_arrays_in_any_layout(n_query: int) -> None:
    """float64, float16 and bfloat16's bits; heads beside each other, every other cell, backwards, in columns."""
    q, k, v = draw(Shape(4, 2, 8, 8), n_query, 20)
    tokens = np.arange(20)
    layouts: list[Callable[[NDArray[Any]], NDArray[Any]]] = [
        lambda a: a.astype(np.float64),
        lambda a: np.ascontiguousarray(a.swapaxes(0, 1)).swapaxes(0, 1),
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: np.ascontiguousarray(a[:, ::-1])[:, ::-1],
        lambda a: np.asfortranarray(a),
    ]
    expected = attend_window(q, k, v, tokens[-n_query:], tokens, window=9)
    for layout in layouts:
        out = attend_window(q, layout(k), layout(v), tokens[-n_query:], tokens, window=9)
        np.testing.assert_array_equal(out, expected)
    for kind, array in (("F16", k.astype(np.float16)), ("BF16", (k.view(np.uint32) >> 16).astype(np.uint16))):
        rows = CacheRows.of(array)
        assert rows.kind == kind
        out = attend_window(q, array, v, tokens[-n_query:], tokens, window=9, scale=1.0)
        mask = sinks_and_window(tokens[-n_query:], tokens, 9, 0)
        assert_as_exact_as_naive(out, q, rows.floats(), v, mask, scale=1.0)


@pytest.mark.parametrize("n_query", [1, 5])
def test_a_query_that_sees_nothing_gets_nothing(n_query: int) -> None:
    """Before the first key, on an empty ring, and without any cells; a learned sink changes nothing of it."""
    q, k, v = draw(Shape(4, 2, 8, 8), n_query, 6)
    early, tokens = np.zeros(n_query, dtype=np.int64), np.arange(6)
    for sinks in (None, np.ones(4)):
        assert not attend_window(q, k, v, early, tokens + 1, window=4, sink_logits=sinks).any()
        assert not attend_window(q, k, v, early + 5, np.full(6, -1), window=9, n_sink=4, sink_logits=sinks).any()
        assert not attend_window(q, k[:, :0], v[:, :0], early, tokens[:0], window=4, sink_logits=sinks).any()
    assert attend_window(q[:, :0], k, v, early[:0], tokens, window=4).shape == (4, 0, 8)


@pytest.mark.parametrize("n_query", [1, 5])
def test_scores_that_overflow_an_exponential_are_safe(n_query: int) -> None:
    k, v = np.ones((1, 5, 1), np.float32), np.arange(5, dtype=np.float32).reshape(1, 5, 1)
    tokens = np.arange(5)
    for score in (-800.0, 800.0):
        q = np.full((1, n_query, 1), score, dtype=np.float32)
        out = attend_window(q, k, v, tokens[-n_query:], tokens, window=5)
        assert out[0, -1, 0] == 2.0
        for learned, expected in ((score + 90, 0.0), (score - 90, 2.0)):
            out = attend_window(q, k, v, tokens[-n_query:], tokens, window=5, sink_logits=np.array([learned]))
            np.testing.assert_allclose(out[0, -1, 0], expected, atol=1e-30)


@pytest.mark.parametrize("n_query", [1, 5])
def test_a_damaged_key_is_not_hidden(n_query: int) -> None:
    q, k, v = draw(Shape(4, 2, 8, 8), n_query, 20)
    tokens = np.arange(20)
    k[1, 19] = np.nan
    out = attend_window(q, k, v, tokens[-n_query:], tokens, window=9)
    assert np.isnan(out[2:, -1]).all()
    assert np.isfinite(out[:2]).all()


def test_shapes_that_do_not_fit_are_refused() -> None:
    q, k, v = draw(Shape(4, 2, 8, 8), 3, 6)
    three, six = np.arange(3), np.arange(6)
    with pytest.raises(ValueError, match="q must have a multiple of the 2 heads of k, at least one each, not 3"):
        attend_window(q[:3], k, v, three, six, window=2)
    with pytest.raises(ValueError, match=r"k must be \(n_kv_head, n_key, head_dim = 7\), not \(2, 6, 8\)"):
        attend_window(q[..., :7], k, v, three, six, window=2)
    with pytest.raises(ValueError, match=r"v must be \(n_kv_head = 2, n_key = 6, v_dim\), not \(2, 5, 8\)"):
        attend_window(q, k, v[:, :5], three, six, window=2)
    with pytest.raises(ValueError, match=r"query_positions must be \(n_query = 3,\), not \(6,\)"):
        attend_window(q, k, v, six, six, window=2)
    with pytest.raises(ValueError, match=r"key_positions must be \(n_key = 6,\), not \(3,\)"):
        attend_window(q, k, v, three, three, window=2)
    with pytest.raises(ValueError, match="window must be a whole number, 1 or more, not 0"):
        attend_window(q, k, v, three, six, window=0)
    with pytest.raises(ValueError, match="n_sink must be a whole number, 0 or more, not -1"):
        attend_window(q, k, v, three, six, window=2, n_sink=-1)
    with pytest.raises(ValueError, match=r"sink_logits must be \(n_head = 4,\), not \(1,\)"):
        attend_window(q, k, v, three, six, window=2, sink_logits=np.zeros(1))
    with pytest.raises(ValueError, match=r"q must be \(n_head, n_query, head_dim\), not"):
        attend_window(q[0], k, v, three, six, window=2)
    with pytest.raises(ValueError, match="k must be an array of floating point numbers, not of int8"):
        attend_window(q, k.astype(np.int8), v, three, six, window=2)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"k must be \(n_kv_head, n_key, head_dim = 8\), not \(6, 8\)"):
        attend_window(q, k[0], v, three, six, window=2)


def test_a_cache_that_would_be_read_beyond_its_end_is_refused() -> None:
    """A kernel does not look where it reads, so this must."""
    data = np.zeros(96, np.uint8)
    row: dict[str, Any] = {"n_head": 2, "n_cell": 3, "dim": 8, "head_bytes": 16, "cell_bytes": 32}
    assert CacheRows(data, "F16", **row).floats().shape == (2, 3, 8)
    with pytest.raises(ValueError, match=r"95 bytes end before the last row does \(96\)"):
        CacheRows(data[:95], "F16", **row)
    with pytest.raises(ValueError, match="whole items of 2 bytes"):
        CacheRows(data[1:], "F16", **row | {"n_cell": 2})
    with pytest.raises(ValueError, match="whole items of 2 bytes"):
        CacheRows(data, "F16", **row | {"head_bytes": 15})
    with pytest.raises(ValueError, match="go forward"):
        CacheRows(data, "F16", **row | {"cell_bytes": -32})
    with pytest.raises(ValueError, match="no whole blocks of 32"):
        CacheRows(data, "Q8_0", **row)
    with pytest.raises(ValueError, match="flat and contiguous"):
        CacheRows(data.reshape(2, 48), "F16", **row)
    with pytest.raises(ValueError, match="a cache has heads"):
        CacheRows(data, "F16", **row | {"n_head": 0})
