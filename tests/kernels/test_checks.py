"""What does not fit is refused, by every public function in the same form, and by a fast kernel as by its slow twin."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest

import kernels
from kernels import (
    Gate,
    Linear,
    RollingBuffer,
    Rope,
    Yarn,
    attend_online,
    checks,
    fast,
    sinks_and_window,
)
from kernels.arrays import Floats

Call = Callable[[], object]

Q, K, V = np.ones((4, 3, 8)), np.ones((2, 6, 8)), np.ones((2, 6, 5))
K3, V3 = K[:, :3], V[:, :3]
MASK, VISIBLE = np.ones((3, 6), dtype=np.bool_), np.ones(6, dtype=np.bool_)
AT, CELLS = np.arange(3, 6), np.arange(6)
ROPE = Rope(n_rot=4)
GATE = Gate(experts=np.array([[0, 1]]), weights=np.array([[0.5, 0.5]]))
IDENTITY = Linear(np.eye(2))
NO_GATE = Gate(experts=np.zeros((0, 2), dtype=np.int64), weights=np.zeros((0, 2)))


def online(
    q: Any = Q,
    k: Any = K,
    v: Any = V,
    at: Any = AT,
    cells: Any = CELLS,
    window: Any = 3,
    n_sink: Any = 1,
    **options: Any,
) -> object:
    rule: Any = partial(sinks_and_window, window=window, n_sink=n_sink)
    return attend_online(q, k, v, rule, at, cells, **options)


def windowed(
    q: Any = Q,
    k: Any = K,
    v: Any = V,
    at: Any = AT,
    cells: Any = CELLS,
    window: Any = 3,
    n_sink: Any = 1,
    **options: Any,
) -> object:
    return fast.attend_window(q, k, v, at, cells, window=window, n_sink=n_sink, **options)


def mass_of(
    function: Callable[..., object], q: Any = Q[:, 0], k: Any = K, visible: Any = VISIBLE, **options: Any
) -> object:
    return function(q, k, visible, **options)


SHAPES: dict[str, tuple[dict[str, Any], str]] = {
    "q of two dimensions": ({"q": Q[0]}, "q must be"),
    "q without heads": ({"q": Q[:0]}, "q must have a multiple of the 2 heads of k, at least one each, not 0"),
    "q of whole numbers": ({"q": Q.astype(np.int64)}, "q must be an array of floating point numbers, not of int64"),
    "q as a list": ({"q": Q.tolist()}, "q must be an array of floating point numbers, not a list"),
    "q of complex numbers": ({"q": Q.astype(np.complex128)}, "q must be an array of floating point numbers"),
    "heads of nothing": ({"q": Q[..., :0], "k": K[..., :0]}, "q must have heads of at least one number"),
    "heads that cannot share": ({"q": Q[:3]}, "q must have a multiple of the 2 heads of k, at least one each, not 3"),
    "keys without heads": ({"k": K[:0], "v": V[:0]}, "q must have a multiple of the 0 heads of k"),
    "keys of other numbers": ({"k": K[..., :7]}, "k must be "),
    "keys of bytes": ({"k": K.astype(np.int8)}, "k must be an array of floating point numbers, not of int8"),
    "keys of two dimensions": ({"k": K[0]}, "k must be "),
    "softcap of 0": ({"softcap": 0.0}, "softcap must be a finite number, 1e-30 or more, 1e+30 or less, not 0.0"),
    "softcap below 0": ({"softcap": -1.0}, "softcap must be "),
    "softcap too large for float32": ({"softcap": 1e40}, "softcap must be "),
    "softcap too small for float32": ({"softcap": 1e-50}, "softcap must be "),
    "softcap of NaN": ({"softcap": np.nan}, "softcap must be "),
    "scale of infinity": ({"scale": np.inf}, "scale must be a finite number, not inf"),
    "scale by name": ({"scale": "1"}, "scale must be a finite number, not '1'"),
    "too few sink logits": ({"sink_logits": np.zeros(3)}, "sink_logits must be (n_head = 4,), not (3,)"),
    "sink logits without a sign": ({"sink_logits": np.zeros(4, np.uint8)}, "sink_logits must be an array of floating"),
}
"""What attention of any kind refuses."""
WINDOWS: dict[str, tuple[dict[str, Any], str]] = {
    "values of other heads": ({"v": V[:1]}, "v must be (n_kv_head = 2, n_key = 6, v_dim), not (1, 6, 5)"),
    "values of more heads": ({"v": np.ones((4, 6, 5))}, "v must be (n_kv_head = 2, n_key = 6, v_dim), not (4, 6, 5)"),
    "too few values": ({"v": V[:, :5]}, "v must be (n_kv_head = 2, n_key = 6, v_dim), not (2, 5, 5)"),
    "values of nothing": ({"v": V[..., :0]}, "v must have heads of at least one number"),
    "one position for all": ({"at": AT[:1]}, "query_positions must be (n_query = 3,), not (1,)"),
    "positions in a column": ({"at": AT[:, np.newaxis]}, "query_positions must be (n_query = 3,), not (3, 1)"),
    "positions between tokens": ({"at": AT + 0.5}, "query_positions must be an array of integers, not of float64"),
    "positions beyond": ({"at": np.full(3, 2**63, np.uint64)}, "query_positions must be integers of 64 bits"),
    "too many key positions": ({"cells": np.arange(7)}, "key_positions must be (n_key = 6,), not (7,)"),
    "a window of nothing": ({"window": 0}, "window must be a whole number, 1 or more, not 0"),
    "half a window": ({"window": 2.5}, "window must be a whole number, 1 or more, not 2.5"),
    "fewer than no sinks": ({"n_sink": -1}, "n_sink must be a whole number, 0 or more, not -1"),
}
MASSES: dict[str, tuple[dict[str, Any], str]] = {
    "queries of a prompt": ({"q": Q}, "q must be (n_head, head_dim), not (4, 3, 8)"),
    "a mask of fewer cells": ({"visible": VISIBLE[:5]}, "visible must be (n_cell = 6,), not (5,)"),
    "a mask to be added": ({"visible": np.zeros(6)}, "visible must be an array of bools"),
    "groups of fewer cells": ({"groups": CELLS[:5], "n_group": 9}, "groups must be (n_cell = 6,), not (5,)"),
    "groups beyond the last": ({"groups": CELLS, "n_group": 5}, "groups must be numbered from 0 to 4"),
    "groups of halves": ({"groups": CELLS / 2, "n_group": 9}, "groups must be an array of integers"),
    "fewer than no groups": ({"n_group": -1}, "n_group must be a whole number, 0 or more, not -1"),
    "fewer than no top cells": ({"n_top": -1}, "n_top must be a whole number, 0 or more, not -1"),
}
CURVES: dict[str, tuple[dict[str, Any], str]] = {
    "fewer than no layers": ({"layers": -1}, "layers must be a whole number, 0 or more, not -1"),
    "half a layer": ({"layers": 0.5}, "layers must be a whole number"),
    "a window of nothing": ({"window": 0}, "window must be a whole number, 1 or more, not 0"),
    "too much residual": ({"alpha": 1.5}, "alpha must be a finite number, 0 or more, 1 or less, not 1.5"),
    "residual of NaN": ({"alpha": np.nan}, "alpha must be "),
}
CONTEXTS: dict[str, tuple[dict[str, Any], str]] = {
    "no tokens": ({"n_token": 0}, "n_token must be a whole number, 1 or more, not 0"),
    "a window of nothing": ({"windows": [3, 0]}, "windows[1] must be a whole number, 1 or more, not 0"),
    "too much residual": ({"alpha": -0.1}, "alpha must be "),
    "too much residual in no layer": ({"windows": [], "alpha": 2.0}, "alpha must be "),
}


def of_one_token(options: dict[str, Any]) -> dict[str, Any]:
    """The same mistake in a call for one token, which has no values."""
    changed = {name: value for name, value in options.items() if name != "v"}
    if isinstance(options.get("q"), np.ndarray):
        changed["q"] = options["q"][:, 0]
    return changed


def twins() -> list[Any]:
    """Each bad call, as it is made to the reference and to its fast twin."""
    masses = {name: (of_one_token(options), problem) for name, (options, problem) in SHAPES.items()} | MASSES
    del masses["q of two dimensions"]
    functions: list[tuple[str, Any, Any, dict[str, Any], Any]] = [
        ("attend_window", online, windowed, {}, SHAPES | WINDOWS),
        ("attention_mass", partial(mass_of, kernels.attention_mass), partial(mass_of, fast.attention_mass), {}, masses),
        ("influence", kernels.influence, fast.influence, {"layers": 2, "window": 3}, CURVES),
        (
            "influence_in_context",
            kernels.influence_in_context,
            fast.influence_in_context,
            {"n_token": 6, "windows": [3]},
            CONTEXTS,
        ),
    ]
    return [
        pytest.param(partial(slow, **good | options), partial(quick, **good | options), problem, id=f"{name}: {case}")
        for name, slow, quick, good, cases in functions
        for case, (options, problem) in cases.items()
    ]


@pytest.mark.parametrize(("slow", "quick", "problem"), twins())
def test_a_fast_kernel_refuses_what_its_twin_does_in_the_same_words(slow: Call, quick: Call, problem: str) -> None:
    messages = [refusal(call) for call in (slow, quick)]
    assert messages[0] == messages[1]
    assert messages[0].startswith(problem)


def refusal(call: Call) -> str:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the caller looks at what it says
        call()
    return str(refused.value)


WIDE = 10**30


@pytest.mark.parametrize(
    "options",
    [
        {"q": Q[:, :0], "at": AT[:0]},
        {"k": K[:, :0], "v": V[:, :0], "cells": CELLS[:0]},
        {"q": Q[:, :1], "at": AT[:1], "k": K[:, :0], "v": V[:, :0], "cells": CELLS[:0]},
        {"q": Q[:, :0], "at": AT[:0], "k": K[:, :0], "v": V[:, :0], "cells": CELLS[:0]},
        {"at": AT.astype(np.uint8), "cells": CELLS.astype(np.uint64)},
        {"q": Q[:, :1], "at": AT[:1].astype(np.uint32), "cells": CELLS.astype(np.uint16)},
        {"at": AT.astype(np.int8), "window": 200},
        {"window": WIDE},
        {"window": np.uint8(2)},
        {"n_sink": WIDE, "window": 1},
        {"q": Q[:, :1], "at": AT[:1], "n_sink": WIDE, "window": WIDE},
        {"q": Q.astype(np.float16), "k": K.astype(np.float16), "v": V.astype(np.float16)},
        {"softcap": 1e-30},
        {"softcap": 1e30},
        {"scale": 0},
        {"scale": -1.0},
        {"sink_logits": np.full(4, -np.inf)},
    ],
    ids=str,
)
def test_a_fast_kernel_gives_what_its_twin_does_at_the_edges(options: dict[str, Any]) -> None:
    random = np.random.default_rng(3)
    drawn = {"q": random.normal(size=Q.shape), "k": random.normal(size=K.shape), "v": random.normal(size=V.shape)}
    slow, quick = (np.asarray(function(**(drawn | options))) for function in (online, windowed))
    assert slow.shape == quick.shape
    np.testing.assert_allclose(quick, slow, atol=1e-6)


def _first(x: Floats) -> Floats:
    return x[:, :1]


def test_no_tokens_give_nothing() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert kernels.mix(np.zeros((0, 2)), NO_GATE, [_first] * 2).shape == (0, 1)
    assert kernels.top_k_gate(np.zeros((0, 4)), 2).experts.shape == (0, 2)
    assert kernels.prefill_chunked(Q[:, :0], K[:, :0], V[:, :0], window=2, chunk=2).shape == (4, 0, 5)
    assert kernels.attend_streaming(Q[:, :0], K[:, :0], V[:, :0], window=2, n_sink=1, rope=ROPE).output.shape == (
        4,
        0,
        5,
    )
    assert kernels.packed_positions([]).tolist() == []
    assert kernels.packed_positions([]).dtype == np.int64
    assert kernels.last_places([]).tolist() == []
    assert kernels.block_diagonal_causal([]).shape == (0, 0)
    assert kernels.unpack(K[:, :0], []) == []
    assert [part.shape for part in kernels.unpack(K, [0, 6])] == [(2, 0, 8), (2, 6, 8)]
    assert kernels.pack([K[:, :0], K]).shape == (2, 6, 8)
    assert kernels.attend_packed(Q[:, :0], K[:, :0], V[:, :0], [0]).output.shape == (4, 0, 5)
    assert kernels.rotate(Q[:, :0], none, ROPE).shape == (4, 0, 8)
    assert kernels.rms_norm(np.zeros((0, 3)), np.ones(3), 1e-6).shape == (0, 3)
    assert IDENTITY(np.zeros((0, 2))).shape == (0, 2)
    buffer = RollingBuffer(4, shape=(3,))
    buffer.append([])
    buffer.append(np.zeros((0, 3)))
    assert buffer.written == 0


def test_a_mask_reads_positions_without_a_sign_as_numbers() -> None:
    place, unsigned = np.arange(6), np.arange(6, dtype=np.uint8)
    for sees in (sinks_and_window(unsigned, place, 3, 1), sinks_and_window(place, unsigned, np.uint8(3), 1)):  # type: ignore[arg-type]
        np.testing.assert_array_equal(sees, sinks_and_window(place, place, 3, 1))
    np.testing.assert_array_equal(kernels.chunked(place, unsigned, WIDE), kernels.causal(place, place))  # type: ignore[arg-type]


def test_nothing_is_divided_by_zero() -> None:
    assert kernels.rms_norm(np.zeros((1, 2)), np.ones(2), 0.0).tolist() == [[0.0, 0.0]]
    assert math.isclose(kernels.exponential_tokens(2, 1e-20, 0.5), 2e20 * math.log(2))
    assert np.isfinite(kernels.yarn_ramp(8, 1.0000001, Yarn(10**9, beta_slow=1e-300))).all()


def test_what_is_shown_of_a_wrong_value_is_short() -> None:
    assert len(refusal(lambda: checks.count("n", "x" * 10_000))) < 100
