"""The Triton kernels in Triton's own interpreter, on the CPU, against the reference.

The interpreter is chosen when a kernel is defined, so this process has to ask for it before it imports them.
"""

import doctest
import math
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import attend, sinks_and_window
from kernels.arrays import Ints
from kernels.fast import triton_attention
from tests.kernels.host_tensor import HostTensor
from tests.kernels.rounding import assert_as_exact_as_naive
from tests.kernels.test_fast_attention import Shape, draw

needs_triton = pytest.mark.skipif(
    find_spec("triton") is None, reason="Triton is not installed: it is for Linux on x86-64"
)
needs_torch = pytest.mark.skipif(
    find_spec("torch") is None, reason="PyTorch is not installed: `launch` is tested without"
)

SHAPES = [Shape(2, 2, 16, 16), Shape(9, 3, 64, 64), Shape(4, 1, 20, 7)]


@pytest.fixture(autouse=True)
def interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")


def run(
    q: NDArray[Any],
    k: NDArray[Any],
    v: NDArray[Any],
    query_positions: Ints,
    key_positions: Ints,
    *,
    window: int,
    n_sink: int = 0,
    scale: float,
    softcap: float | None = None,
    sink_logits: NDArray[Any] | None = None,
) -> NDArray[np.float32]:
    """What `attend_window` does with PyTorch, on host tensors."""
    work = triton_attention.plan(len(q) // len(k), query_positions, key_positions, window=window, n_sink=n_sink)
    out = np.zeros((*q.shape[:2], v.shape[2]), np.float32)
    part_out = np.zeros((work.parts, *out.shape), np.float32)
    part_sums = np.zeros((work.parts, *q.shape[:2], 2), np.float32)
    integers = (query_positions, key_positions, work.first, work.last)
    tensors: list[Any] = [HostTensor(np.ascontiguousarray(part)) for part in (q, k, v)]
    tensors += [HostTensor(part.astype(np.int32)) for part in integers]
    tensors.append(None if sink_logits is None else HostTensor(sink_logits.astype(np.float32)))
    tensors += [HostTensor(part) for part in (out, part_out, part_sums)]
    launch: Any = triton_attention.launch
    launch(
        work,
        *tensors,
        window=window,
        n_sink=n_sink,
        scale=scale,
        softcap=softcap,
    )
    return out


@needs_triton
@pytest.mark.parametrize(
    ("window", "n_sink", "softcap", "learned"),
    [(1, 0, None, False), (37, 4, 3.0, True), (30, 70, None, True), (1000, 0, None, False)],
)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_prompt(shape: Shape, window: int, n_sink: int, softcap: float | None, learned: bool) -> None:
    """150 tokens are several blocks of queries and of keys, none of them whole; 70 sinks are more than a block."""
    q, k, v = draw(shape, 150, 150)
    tokens = np.arange(150)
    sinks = np.linspace(-2, 2, shape.n_head) if learned else None
    options: dict[str, Any] = {"scale": 1 / math.sqrt(shape.head_dim), "softcap": softcap}
    out = run(q, k, v, tokens, tokens, window=window, n_sink=n_sink, sink_logits=sinks, **options)
    assert_as_exact_as_naive(out, q, k, v, sinks_and_window(tokens, tokens, window, n_sink), sinks=sinks, **options)


@needs_triton
@pytest.mark.parametrize(("ring", "softcap", "learned"), [(False, None, False), (True, 3.0, True)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_one_token(shape: Shape, ring: bool, softcap: float | None, learned: bool) -> None:
    """1,301 keys are shared by four programs, and cells may be out of order or empty."""
    q, k, v = draw(shape, 1, 1301)
    cells = np.random.default_rng(1).permutation(1301) if ring else np.arange(1301)
    if ring:
        cells[7:11] = -1
    sinks = np.linspace(-2, 2, shape.n_head) if learned else None
    options: dict[str, Any] = {"scale": 1 / math.sqrt(shape.head_dim), "softcap": softcap}
    now = np.array([1290])
    assert triton_attention.plan(1, now, cells, window=1200, n_sink=3).parts == 4
    out = run(q, k, v, now, cells, window=1200, n_sink=3, sink_logits=sinks, **options)
    mask = sinks_and_window(now, cells, 1200, 3) & (cells >= 0)
    assert_as_exact_as_naive(out, q, k, v, mask, sinks=sinks, **options)


@needs_triton
def test_a_chunk_on_a_ring() -> None:
    q, k, v = draw(Shape(4, 2, 16, 16), 9, 41)
    cells = np.concatenate([np.roll(np.arange(100, 132), 11), np.arange(132, 141)])
    now = np.arange(132, 141)
    out = run(q, k, v, now, cells, window=32, n_sink=0, scale=0.25)
    assert_as_exact_as_naive(out, q, k, v, sinks_and_window(now, cells, 32, 0), scale=0.25)


@needs_triton
def test_half_precision() -> None:
    """Keys, values and weights in float16, sums in float32: the rounding of a weight is 2⁻¹¹ of it."""
    q, k, v = (part.astype(np.float16) for part in draw(Shape(4, 2, 32, 32), 70, 70))
    tokens = np.arange(70)
    out = run(q, k, v, tokens, tokens, window=20, n_sink=2, scale=0.2)
    exact = attend(q, k, v, sinks_and_window(tokens, tokens, 20, 2), scale=0.2).output
    assert np.abs(out - exact).max() <= 2**-10 * float(np.abs(v).max())


@needs_triton
@pytest.mark.parametrize("n_query", [1, 20])
def test_a_query_that_sees_nothing_gets_nothing(n_query: int) -> None:
    q, k, v = draw(Shape(4, 2, 16, 16), n_query, 200)
    early = np.zeros(n_query, dtype=np.int64)
    for sinks in (None, np.ones(4)):
        assert not run(q, k, v, early, np.arange(200) + 1, window=4, scale=1.0, sink_logits=sinks).any()
        assert not run(q, k, v, early + 5, np.full(200, -1), window=9, n_sink=4, scale=1.0, sink_logits=sinks).any()


@needs_triton
@needs_torch
@pytest.mark.parametrize("n_query", [1, 90])
def test_pytorchs_tensors(n_query: int) -> None:
    torch: Any = import_module("torch")
    q, k, v = draw(Shape(4, 2, 16, 8), n_query, 1200)
    tokens, sinks = np.arange(1200), np.linspace(-1, 1, 4)
    attend_window: Any = triton_attention.attend_window
    tensors: list[Any] = [torch.from_numpy(part) for part in (q, k, v)]
    now = tokens[-n_query:]
    out = attend_window(*tensors, now, tokens, window=1100, n_sink=2, sink_logits=torch.from_numpy(sinks))
    mask = sinks_and_window(now, tokens, 1100, 2)
    assert_as_exact_as_naive(out.numpy(), q, k, v, mask, scale=0.25, sinks=sinks)
    with pytest.raises(ValueError, match="q must have a multiple of the 2 heads of k"):
        attend_window(tensors[0][:3], *tensors[1:], now, tokens, window=2)
    with pytest.raises(ValueError, match="cannot meet"):
        attend_window(tensors[0].half(), *tensors[1:], now, tokens, window=2)


def test_importing_it_imports_neither_triton_nor_torch() -> None:
    code = "import sys, kernels.fast.triton_attention; assert not {'triton', 'torch'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_the_plans_examples_are_true() -> None:
    examples = doctest.DocTestFinder().find(triton_attention, globs={**vars(triton_attention), "np": np})
    assert sum(len(example.examples) for example in examples) == 3
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0, example.name
