"""The fast kernels' own source, run by Python: what reads beyond an array fails here, where compiled code goes on.

Numba checks no index, and a wrong read past the end may still give the right answer on most days. It also lets
`make coverage` see the lines. LLVM's instructions, which Python does not have, are NumPy's views here.
"""

import sys
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import kernels.fast.jit as jit
from kernels import attend, influence, sinks_and_window
from kernels import attention_mass as slow_mass
from kernels.fast import CacheRows, attend_window, attention_mass
from kernels.fast import influence as fast_influence
from kernels.fast.jit import compiler
from kernels.fast.rows import KINDS, Kind
from tests.kernels.test_fast_attention import Shape, draw, stored
from tests.kernels.test_fast_mass import assert_same

MODULES = ("numbers", "tiles", "decode", "prefill", "mass", "spread")
NAN = np.float32(np.nan)


@pytest.fixture(autouse=True)
def in_python(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Copies of the kernels that nobody has compiled, for as long as a test runs."""
    for name in MODULES:
        import_module(f"{jit.__name__}.{name}")  # so that monkeypatch puts it back afterwards
    for name in MODULES:
        monkeypatch.delitem(sys.modules, f"{jit.__name__}.{name}")
        monkeypatch.delattr(jit, name)

    def as_it_is(function: Any, **_options: Any) -> Any:
        return function

    def float_of(bits: Any) -> Any:
        return np.uint32(bits).view(np.float32)

    def bits_of(value: Any) -> Any:
        return np.float32(value).view(np.uint32)

    monkeypatch.setattr(compiler, "_kept", as_it_is)
    numbers: Any = import_module(f"{jit.__name__}.numbers")
    numbers.float_of, numbers.bits_of, numbers.half = float_of, bits_of, numbers.half_by_bits
    with np.errstate(over="ignore", invalid="ignore"):  # bits are added as numbers
        yield


def test_it_is_python_that_runs() -> None:
    """Else nothing below would find anything: compiled, this read past the end raises nothing."""
    tiles = import_module(f"{jit.__name__}.tiles")
    with pytest.raises(IndexError):
        tiles.multiply_add(*(np.zeros((4, 4), np.float32) for _ in "cab"), 8, 4, 4)


@pytest.mark.parametrize(("softcap", "learned"), [(None, False), (3.0, True)])
@pytest.mark.parametrize(("window", "n_sink"), [(1, 0), (5, 2), (30, 0)])
@pytest.mark.parametrize("shape", [Shape(2, 1, 5, 3), Shape(2, 2, 4, 1)], ids=str)
def test_a_prompt(shape: Shape, window: int, n_sink: int, softcap: float | None, learned: bool) -> None:
    q, k, v = draw(shape, 11, 11)
    tokens = np.arange(11)
    sinks = np.linspace(-2, 2, shape.n_head) if learned else None
    out = attend_window(
        q, k, v, tokens, tokens, window=window, n_sink=n_sink, softcap=softcap, sink_logits=sinks, scale=0.4
    )
    mask = sinks_and_window(tokens, tokens, window, n_sink)
    exact = attend(q, k, v, mask, softcap=softcap, sink_logits=sinks, scale=0.4).output
    np.testing.assert_allclose(out, exact, atol=2e-6)


def test_a_chunk_behind_a_cache_that_is_several_tiles() -> None:
    q, k, v = draw(Shape(2, 1, 4, 2), 3, 150)
    cells = np.random.default_rng(1).permutation(150)
    now = np.array([147, 148, 149])
    out = attend_window(q, k, v, now, cells, window=140, n_sink=3)
    exact = attend(q, k, v, sinks_and_window(now, cells, 140, 3)).output
    np.testing.assert_allclose(out, exact, atol=2e-6)


@pytest.mark.parametrize(("n_cell", "learned"), [(1, False), (6, True), (521, True)])
def test_one_token_on_a_ring(n_cell: int, learned: bool) -> None:
    """521 cells are two parts, and no whole tiles."""
    shape = Shape(4, 2, 6, 5)
    q, k, v = draw(shape, 1, n_cell)
    cells = np.random.default_rng(1).permutation(n_cell)
    now = np.array([n_cell - 1])
    sinks = np.linspace(-2, 2, shape.n_head) if learned else None
    out = attend_window(q, k, v, now, cells, window=n_cell, softcap=4.0, sink_logits=sinks)
    exact = attend(q, k, v, sinks_and_window(now, cells, n_cell, 0), softcap=4.0, sink_logits=sinks).output
    np.testing.assert_allclose(out, exact, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_cache(kind: Kind) -> None:
    """Its last row ends where the memory does."""
    q, k, v = draw(Shape(2, 1, 32, 32), 2, 7)
    keys, values = _cut(stored(k, kind)), _cut(stored(v, kind))
    tokens = np.arange(7)
    mask = sinks_and_window(tokens, tokens, 4, 1)
    for some in (slice(5, 7), slice(6, 7)):  # a chunk, one token
        out = attend_window(q[:, -len(tokens[some]) :], keys, values, tokens[some], tokens, window=4, n_sink=1)
        exact = attend(q[:, -len(tokens[some]) :], keys.floats(), values.floats(), mask[some]).output
        np.testing.assert_allclose(out, exact, atol=2e-6)


def _cut(rows: CacheRows) -> CacheRows:
    """The same rows, and not a byte after the last."""
    end = (rows.n_head - 1) * rows.head_bytes + (rows.n_cell - 1) * rows.cell_bytes + rows.row_bytes
    fields: dict[str, Any] = {name: getattr(rows, name) for name in ("n_head", "n_cell", "dim")}
    return CacheRows(
        rows.data[:end].copy(), rows.kind, head_bytes=rows.head_bytes, cell_bytes=rows.cell_bytes, **fields
    )


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("n_cell", [0, 3, 261])
def test_what_one_token_looks_at(n_cell: int, learned: bool) -> None:
    """261 cells are two parts, and no whole tiles."""
    q, k, _ = draw(Shape(4, 2, 5, 1), 1, n_cell)
    options: dict[str, Any] = {"groups": np.arange(n_cell) % 3 - 1, "n_group": 2, "n_top": 2}
    options["sink_logits"] = np.linspace(-1, 1, 4) if learned else None
    seen = np.arange(n_cell) % 5 != 2
    assert_same(attention_mass(q[:, 0], k, seen, **options), slow_mass(q[:, 0], k, seen, **options))


@pytest.mark.parametrize(("layers", "window"), [(1, 1), (3, 4), (2, 30)])
def test_an_influence_curve(layers: int, window: int) -> None:
    np.testing.assert_allclose(fast_influence(layers, window, 0.5), influence(layers, window, 0.5), rtol=1e-12)


def test_numbers_that_python_can_count() -> None:
    """float16 by its bits, and exponentials at their edges."""
    numbers: Any = import_module(f"{jit.__name__}.numbers")
    halves: NDArray[np.float16] = np.array([0, -0.0, 1.5, -65504, 6e-8, np.inf, -np.inf, np.nan], np.float16)
    wide = [numbers.half(bits) for bits in halves.view(np.uint16)]
    np.testing.assert_array_equal(np.array(wide, np.float32), halves.astype(np.float32))
    for x in (0.0, -1e-3, -5.0, -86.9):
        np.testing.assert_allclose(numbers.exp(np.float32(x)), np.exp(np.float64(np.float32(x))), rtol=2**-23)
    assert [float(numbers.exp(np.float32(x))) for x in (-87.5, -np.inf)] == [0, 0]
    assert np.isnan(numbers.exp(NAN))
