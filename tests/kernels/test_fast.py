"""The fast kernels as a package: light to import, honest without Numba, never stale, and exact in their numbers."""

import doctest
import json
import subprocess
import sys
import warnings
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import kernels
from kernels import fast
from kernels.fast import fallback
from kernels.fast.jit import compiler, numbers
from kernels.mass import attention_mass
from tests.kernels.test_fast_attention import Shape, draw


@numba.njit
def _widened(bits: Any, out: Any) -> None:  # pragma: no cover - compiled
    for i in range(len(bits)):
        out[0, i] = numbers.half(bits[i])
        out[1, i] = numbers.half_by_bits(bits[i])


@numba.njit
def _exponentials(x: Any, softcap: Any, out: Any) -> None:  # pragma: no cover - compiled
    for i in range(len(x)):
        out[0, i] = numbers.exp(x[i])
        out[1, i] = numbers.cap(x[i], softcap)


def test_every_float16_is_widened_exactly() -> None:
    """Subnormals, infinities and NaN too, by the processor and by hand."""
    bits = np.arange(65536, dtype=np.uint16)
    out = np.empty((2, 65536), np.float32)
    _widened(bits, out)
    for way in out:
        np.testing.assert_array_equal(way, bits.view(np.float16).astype(np.float32))


def test_exponentials_are_exact_to_some_units_in_the_last_place() -> None:
    random = np.random.default_rng(6)
    x = -np.exp(random.uniform(-30, np.log(87), 20000)).astype(np.float32)
    out = np.empty((2, len(x)), np.float32)
    _exponentials(x, np.float32(30), out)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(out[0], np.exp(wide), rtol=2**-23)
    np.testing.assert_allclose(out[1], 30 * np.tanh(wide / 30), rtol=2**-21)
    edges = np.array([0, -87.5, -1e30, -np.inf, np.nan], np.float32)
    _exponentials(edges, np.float32(30), out)
    np.testing.assert_array_equal(out[0, :5], [1, 0, 0, 0, np.nan])
    _exponentials(np.array([1e30, np.inf, -np.inf, np.nan], np.float32), np.float32(30), out)
    np.testing.assert_array_equal(out[1, :4], [30, 30, -30, np.nan])


def test_a_float16_is_widened_by_hand_where_llvm_could_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled for a processor that is not this one, the instruction may be missing, and so is what LLVM would call."""
    monkeypatch.setattr(numbers.numba_config, "CPU_NAME", "x86-64")
    assert not numbers.has_half_instruction()
    monkeypatch.undo()
    monkeypatch.setattr(numbers.platform, "machine", lambda: "riscv64")
    assert not numbers.has_half_instruction()
    monkeypatch.setattr(numbers.platform, "machine", lambda: "arm64")
    assert numbers.has_half_instruction()


def test_what_is_kept_on_disk_is_of_these_sources() -> None:
    """Numba looks at the file of each kernel alone: an edit of what a kernel calls would run old code."""
    kernel: Any = import_module("kernels.fast.jit.prefill").prefill
    assert kernel._cache._cache_file._source_stamp == compiler.digest()


def test_a_change_of_any_source_changes_the_digest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in Path(compiler.__file__).parent.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    monkeypatch.setattr(compiler, "__file__", str(tmp_path / "compiler.py"))
    before = compiler.digest()
    (tmp_path / "tiles.py").write_text("other", encoding="utf-8")
    assert compiler.digest() != before


def test_where_no_folder_can_be_written_kernels_are_compiled_all_the_same() -> None:
    """What has no file has no cache either: Numba refuses to keep it."""
    space: dict[str, Any] = {}
    exec("def twice(x):\n    return 2 * x", space)
    assert compiler.compiled(space["twice"])(4) == 8


def test_a_small_cache_is_read_by_one_thread() -> None:
    before = numba.get_num_threads()
    with compiler.threads_for(1000):
        assert numba.get_num_threads() == 1
    with compiler.threads_for(10**12):
        assert numba.get_num_threads() == before
    assert numba.get_num_threads() == before


def test_importing_the_package_imports_numpy_alone() -> None:
    code = (
        "import json, sys, numpy; old = {*sys.modules}; import kernels.fast; print(json.dumps([*{*sys.modules} - old]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    others = {name.split(".")[0] for name in json.loads(done.stdout)} - sys.stdlib_module_names
    assert others - {"numpy"} == {"kernels"}


@pytest.fixture
def no_numba(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setitem(sys.modules, "numba", None)
    fallback.forget()
    yield
    fallback.forget()


def test_with_numba_there_is_no_reason_not_to() -> None:
    assert fast.available()
    assert fast.why() is None


@pytest.mark.usefixtures("no_numba")
def test_without_numba_the_reference_answers_and_says_so_once() -> None:
    q, k, v = draw(Shape(4, 2, 8, 8), 6, 6)
    tokens, seen = np.arange(6), np.ones(6, dtype=np.bool_)
    ring = np.array([-1, 3, 4, 5, -1, 2])
    assert not fast.available()
    assert fast.why() == "Numba is not installed: pip install 'swachat[fast]'"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        out = fast.attend_window(q, k, v, tokens, tokens, window=3, n_sink=1, scale=0.5, softcap=2.0)
        rolled = fast.attend_window(q[:, -1:], k, v, tokens[-1:], ring, window=3)
        mass = fast.attention_mass(q[:, 0], k, seen, n_top=2, groups=tokens % 2, n_group=2)
        curve = fast.influence(3, 5, 0.5)
        in_context = fast.influence_in_context(9, [3, None])
    assert [(warning.category, warning.filename) for warning in warned] == [(fast.NumbaMissing, __file__)]
    assert "the slow reference kernels are used. Numba is not installed: pip install" in str(warned[0].message)
    mask = kernels.sinks_and_window(tokens, tokens, 3, 1)
    np.testing.assert_allclose(out, kernels.attend(q, k, v, mask, scale=0.5, softcap=2.0).output, atol=1e-6)
    here = ring >= 3
    alone = kernels.attend(q[:, -1:], k[:, here], v[:, here], np.ones((1, 3), dtype=np.bool_))
    np.testing.assert_allclose(rolled, alone.output, atol=1e-6)
    exact = attention_mass(q[:, 0], k, seen, n_top=2, groups=tokens % 2, n_group=2)
    np.testing.assert_array_equal(mass.groups, exact.groups)
    np.testing.assert_array_equal(curve, kernels.influence(3, 5, 0.5))
    np.testing.assert_array_equal(in_context, kernels.influence_in_context(9, [3, None]))


def test_a_numba_that_cannot_be_loaded_is_told_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made for another NumPy, or without its compiler: `pip install` alone may not mend it, so the cause is shown."""
    for source in ("raise ImportError('Numba needs NumPy 2.3 or less')", "import no_such_llvmlite"):
        (tmp_path / "numba.py").write_text(source, encoding="utf-8")
        monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
        monkeypatch.delitem(sys.modules, "numba", raising=False)
        fallback.forget()
        assert (fast.why() or "").startswith("Numba cannot be imported (")
    fallback.forget()


def test_a_numba_that_may_not_compile_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """Debuggers and coverage set this; intrinsics cannot run in the interpreter."""
    monkeypatch.setattr(numbers.numba_config, "DISABLE_JIT", 1)
    fallback.forget()
    assert fast.why() == "Numba does not compile: unset NUMBA_DISABLE_JIT"
    monkeypatch.undo()
    fallback.forget()
    assert fast.available()


@pytest.mark.parametrize(
    "page", ["kernels.fast.attention", "kernels.fast.mass", "kernels.fast.reach", "kernels.fast.rows"]
)
def test_every_example_is_true(page: str) -> None:
    module = import_module(page)
    examples = doctest.DocTestFinder().find(module, globs={**vars(module), "np": np})
    assert sum(len(example.examples) for example in examples) > 1
    for example in examples:
        assert doctest.DocTestRunner().run(example).failed == 0, example.name


def test_everything_public_is_exported() -> None:
    assert fast.__all__ == sorted(fast.__all__)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert all(hasattr(fast, name) for name in fast.__all__)
