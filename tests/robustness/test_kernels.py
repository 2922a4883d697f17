"""The kernels with arguments that somebody made up: a ValueError, or the number that the definition gives."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

from kernels import attend, attend_online, attention_mass, fast, prefill_chunked, sinks_and_window, top_k_gate
from tests.robustness.tries import Try, tries

KINDS = (np.float16, np.float32, np.float64, np.float64, np.float64, np.int64, np.uint16, np.bool_, np.complex128)
PLACES = (np.int64, np.int64, np.int64, np.int32, np.uint8, np.uint64, np.float64)
SIZES = (0, 1, 1, 2, 3, 5)
ERROR = 2e-3
"""Of sums in float32, whose scores go up to some hundreds, against float64."""


def numbers(attempt: Try, shape: list[int], *, odd: float = 0.05) -> Any:
    """An array of this shape, and now and then of another shape or type."""
    if attempt.random() < odd:
        shape[attempt.randrange(len(shape))] = attempt.choice(SIZES)
    if attempt.random() < odd / 2:
        shape = attempt.choice([shape[1:], [1, *shape]])
    kind: Any = attempt.choice(KINDS) if attempt.random() < odd else np.float64
    scale = attempt.choice([0.1, 1.0, 1.0, 10.0])
    made: Any = np.random.default_rng(attempt.randrange(2**32)).normal(size=shape, scale=scale)
    return (np.abs(made) if kind is np.uint16 else made).astype(kind)


def positions(attempt: Try, n: int) -> Any:
    """Positions of `n` tokens, mostly in the order of the conversation."""
    at = [attempt.randrange(12) for _ in range(n if attempt.random() > 0.05 else attempt.choice(SIZES))]
    kind: Any = attempt.choice(PLACES)
    return np.array(sorted(at) if attempt.random() < 0.7 else at, dtype=kind)


def answer(call: Callable[[], Any], attempt: Try) -> Any:
    """What the call returns, or the words of its ValueError; nothing else may come of it."""
    try:
        return call()
    except ValueError as refused:
        return str(refused)
    except Exception as other:
        pytest.fail(f"{attempt}: {other!r}")


def by_definition(q: Any, k: Any, v: Any, mask: Any, options: dict[str, Any]) -> tuple[Any, Any]:
    """Attention one number at a time: output and weights."""
    n_head, n_query, dim = q.shape
    output, weights = np.zeros((n_head, n_query, v.shape[2])), np.zeros((n_head, n_query, k.shape[1]))
    scale, softcap, sinks = options["scale"], options["softcap"], options["sink_logits"]
    for head in range(n_head):
        shared = head * len(k) // n_head
        for query in range(n_query):
            seen = np.flatnonzero(mask[query]).tolist()
            scores = [float(q[head, query].astype(float) @ k[shared, j].astype(float)) for j in seen]
            scores = [score * (1 / math.sqrt(dim) if scale is None else float(scale)) for score in scores]
            if softcap is not None:
                scores = [softcap * math.tanh(score / softcap) for score in scores]
            learned = [] if sinks is None else [float(sinks[head])]
            top = max([*scores, *learned], default=0.0)
            total = sum(math.exp(score - top) for score in [*scores, *learned]) or 1.0
            for j, score in zip(seen, scores, strict=True):
                weights[head, query, j] = math.exp(score - top) / total
                output[head, query] += weights[head, query, j] * v[shared, j].astype(float)
    return output, weights


def options_of(attempt: Try, n_head: int) -> dict[str, Any]:
    return {
        "scale": attempt.choice([None, None, None, 0.5, 0, -1.0, np.float32(2), math.inf, math.nan]),
        "softcap": attempt.choice([None, None, None, None, 3.0, 0.0, -1.0, 1e-40, math.nan]),
        "sink_logits": attempt.choice([None, None, numbers(attempt, [n_head])]),
    }


def heads(attempt: Try) -> tuple[Any, Any, Any]:
    """Queries, keys and values that mostly fit each other."""
    n_kv_head, dim, n_key = attempt.choice(SIZES[1:]), attempt.choice(SIZES), attempt.choice(SIZES)
    n_head = n_kv_head * attempt.choice((1, 2)) + (attempt.random() < 0.05)
    q = numbers(attempt, [n_head, attempt.choice(SIZES), dim])
    return q, numbers(attempt, [n_kv_head, n_key, dim]), numbers(attempt, [n_kv_head, n_key, attempt.choice(SIZES)])


def length(array: Any, axis: int) -> int:
    return array.shape[axis] if array.ndim > axis else 1


def size(attempt: Try) -> Any:
    return attempt.choice([1, 2, 3, 4, 7, 10**30, np.uint8(2), 0, -1, 1.5] if attempt.random() < 0.4 else [1, 2, 5])


def narrow(array: Any) -> Any:
    """uint16 would be the bits of a bfloat16 to a fast kernel."""
    return array.astype(np.float32) if array.dtype == np.uint16 else array


def test_attention_is_refused_or_what_the_definition_says() -> None:
    answered = 0
    for attempt in tries("kernels: attend", 300):
        q, k, v = heads(attempt)
        options = options_of(attempt, length(q, 0))
        mask: Any = np.random.default_rng(attempt.randrange(2**32)).random((length(q, 1), length(k, 1))) < 0.7
        if attempt.random() < 0.1:
            others = mask[:1], mask[:, :1], mask[np.newaxis], np.where(mask, 0.0, -np.inf), mask.astype(int)
            mask = attempt.choice(others)
        got = answer(partial(attend, q, k, v, mask, **options), attempt)
        if isinstance(got, str):
            continue
        answered += 1
        output, weights = by_definition(q, k, v, mask, options)
        np.testing.assert_allclose(got.output, output, atol=1e-9, err_msg=str(attempt))
        np.testing.assert_allclose(got.weights, weights, atol=1e-9, err_msg=str(attempt))
    assert answered > 20


def test_a_fast_kernel_refuses_or_answers_as_its_twin() -> None:
    answered = 0
    for attempt in tries("kernels: twins", 300):
        q, k, v = heads(attempt)
        k, v = narrow(k), narrow(v)
        options = options_of(attempt, length(q, 0))
        at, cells = positions(attempt, length(q, 1)), positions(attempt, length(k, 1))
        window, n_sink = size(attempt), attempt.choice([0, 0, 1, 2, size(attempt)])
        rule: Any = partial(sinks_and_window, window=window, n_sink=n_sink)
        slow = answer(partial(attend_online, q, k, v, rule, at, cells, **options), attempt)
        windows = {"window": window, "n_sink": n_sink}
        quick = answer(partial(fast.attend_window, q, k, v, at, cells, **windows, **options), attempt)
        if isinstance(slow, str) or isinstance(quick, str):
            assert str(slow) == str(quick), str(attempt)
            continue
        answered += 1
        assert np.isfinite(slow).all(), str(attempt)
        np.testing.assert_allclose(quick, slow, atol=ERROR, err_msg=str(attempt))
    assert answered > 20


def test_what_one_token_attends_to() -> None:
    answered = 0
    for attempt in tries("kernels: mass", 200):
        q, k, _ = heads(attempt)
        q, k = q[:, 0] if length(q, 1) and q.ndim > 1 else q, narrow(k)
        n_cell = length(k, 1)
        visible: Any = np.array([attempt.random() < 0.8 for _ in range(n_cell)], dtype=np.bool_)
        options = options_of(attempt, length(q, 0))
        options["groups"] = attempt.choice([None, positions(attempt, n_cell)])
        options["n_group"] = attempt.choice([0, 12, 12, -1])
        options["n_top"] = attempt.choice([0, 2, 10**30, -1, 0.5])
        slow = answer(partial(attention_mass, q, k, visible, **options), attempt)
        quick = answer(partial(fast.attention_mass, q, k, visible, **options), attempt)
        if isinstance(slow, str) or isinstance(quick, str):
            assert str(slow) == str(quick), str(attempt)
            continue
        answered += 1
        for exact, near in ((slow.cells, quick.cells), (slow.sink, quick.sink), (slow.groups, quick.groups)):
            assert np.isfinite(exact).all(), str(attempt)
            np.testing.assert_allclose(near, exact, atol=ERROR, err_msg=str(attempt))
    assert answered > 10


def test_chunks_of_any_size_are_one_shot_or_refused() -> None:
    answered = 0
    for attempt in tries("kernels: chunks", 150):
        n_token = attempt.choice(SIZES)
        q, k, v = (numbers(attempt, [n_head, n_token, 4], odd=0.02) for n_head in (4, 2, 2))
        window, chunk, n_sink = size(attempt), size(attempt), attempt.choice([0, 1, size(attempt)])
        got = answer(partial(prefill_chunked, q, k, v, window=window, chunk=chunk, n_sink=n_sink), attempt)
        if isinstance(got, str):
            continue
        answered += 1
        place: Any = np.arange(length(q, 1))
        exact = attend(q, k, v, sinks_and_window(place, place, window, n_sink)).output
        np.testing.assert_allclose(got, exact, atol=1e-9, err_msg=str(attempt))
    assert answered > 20


def test_a_gate_chooses_the_best_or_refuses() -> None:
    answered = 0
    for attempt in tries("kernels: gate", 150):
        logits, n_used = numbers(attempt, [attempt.choice(SIZES), attempt.choice(SIZES)]), size(attempt)
        got = answer(partial(top_k_gate, logits, n_used), attempt)
        if isinstance(got, str):
            continue
        answered += 1
        for token, row in enumerate(logits.astype(np.float64).tolist()):
            best = np.argsort([-score for score in row], kind="stable")[: int(n_used)].tolist()
            assert got.experts[token].tolist() == best, str(attempt)
            assert math.isclose(got.weights[token].sum(), 1), str(attempt)
    assert answered > 20
