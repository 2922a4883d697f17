"""What the public functions ask of their arguments, in one place: types, shapes and numbers, refused in one form.

A wrong shape must not broadcast to a wrong answer. Each message names the argument, what it must be, and what it is.
The fast kernels ask the same as their slow twins, in the same words and the same order. Nothing here reads the numbers
of an array that has one for each cell: to check the call for one token costs some microseconds, however long the cache.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, cast

import numpy as np

from kernels.arrays import Ints

FAR: Final = 2**62
"""Tokens: a window as wide as this or wider sees everything, and positions less a window still fit in 64 bits."""
LARGEST: Final = float(np.finfo(np.float64).max)
LEAST_CAP, MOST_CAP = 1e-30, 1e30
"""Between these a softcap is as good in float32, in which the fast kernels compute, as in float64."""

Shape = tuple[int, ...]


def require(condition: bool, problem: str) -> None:
    """Raise ValueError with `problem` unless `condition`.

    >>> require(2 % 3 == 0, "2 query heads cannot share 3 key heads")
    Traceback (most recent call last):
    ValueError: 2 query heads cannot share 3 key heads
    """
    if not condition:
        raise ValueError(problem)


def fits(name: str, shape: Shape, **axes: int | None) -> None:
    """`shape` has these axes, each of its size; None is any size, zero too.

    >>> fits("v", (3, 6, 4), n_kv_head=2, n_key=6, v_dim=None)
    Traceback (most recent call last):
    ValueError: v must be (n_kv_head = 2, n_key = 6, v_dim), not (3, 6, 4)
    """
    sizes = tuple(axes.values())
    if shape == sizes or (
        len(shape) == len(sizes) and all(want in (None, size) for size, want in zip(shape, sizes, strict=True))
    ):
        return
    wanted = ", ".join(axis if size is None else f"{axis} = {size}" for axis, size in axes.items())
    raise ValueError(f"{name} must be ({wanted}{',' if len(axes) == 1 else ''}), not {tuple(shape)}")


def floats(name: str, array: Any) -> None:
    """An array of floating point numbers of any width.

    >>> floats("logits", np.array([1, 2], dtype=np.uint8))
    Traceback (most recent call last):
    ValueError: logits must be an array of floating point numbers, not of uint8
    """
    if not (isinstance(array, np.ndarray) and cast(Any, array).dtype.kind == "f"):
        raise ValueError(f"{name} must be an array of floating point numbers, not {_kind(array)}")


def row_of(name: str, array: Any) -> int:
    """Floating point numbers with a last axis that is not empty; its size.

    >>> row_of("x", np.zeros((2, 0)))
    Traceback (most recent call last):
    ValueError: x must be (..., n) with n at least 1, not (2, 0)
    """
    floats(name, array)
    if array.ndim == 0 or array.shape[-1] == 0:
        raise ValueError(f"{name} must be (..., n) with n at least 1, not {array.shape}")
    return array.shape[-1]


def bools(name: str, array: Any, **axes: int | None) -> None:
    """An array of bools with these axes: a mask to be added, of 0 and -inf, would be read the wrong way round.

    >>> bools("mask", np.zeros((1, 2)), n_query=1, n_key=2)
    Traceback (most recent call last):
    ValueError: mask must be an array of bools, True where the key is seen, not of float64
    """
    if not (isinstance(array, np.ndarray) and cast(Any, array).dtype.kind == "b"):
        raise ValueError(f"{name} must be an array of bools, True where the key is seen, not {_kind(array)}")
    fits(name, cast(Any, array).shape, **axes)


def integers(name: str, array: Any, **axes: int | None) -> Ints:
    """An array of integers with these axes, in int64: in a type of its own, unsigned or narrow, a difference may wrap.

    >>> integers("positions", np.array([0, 1], dtype=np.uint8), n_token=2) - 3
    array([-3, -2])
    """
    if not (isinstance(array, np.ndarray) and cast(Any, array).dtype.kind in "iu"):
        raise ValueError(f"{name} must be an array of integers, not {_kind(array)}")
    numbers = cast(Any, array)
    fits(name, numbers.shape, **axes)
    if numbers.dtype == np.int64:
        return numbers
    if numbers.dtype == np.uint64 and numbers.size and int(numbers.max()) >= 2**63:
        raise ValueError(f"{name} must be integers of 64 bits with a sign, not {int(numbers.max())}")
    return numbers.astype(np.int64)


def count(name: str, value: Any, least: int = 0, most: int | None = None) -> int:
    """A whole number of at least `least`, and of at most `most` where that is given.

    >>> count("window", 0, least=1)
    Traceback (most recent call last):
    ValueError: window must be a whole number, 1 or more, not 0
    """
    if isinstance(value, (int, np.integer)):
        whole = int(cast(Any, value))
        if whole >= least and (most is None or whole <= most):
            return whole
    wanted = f"{least} or more" if most is None else f"from {least} to {most}"
    raise ValueError(f"{name} must be a whole number, {wanted}, not {_shown(value)}")


def tokens(name: str, value: Any, least: int = 0) -> int:
    """A number of tokens to compare positions with: as `count`, and no more than `FAR`, which is as good as any more.

    >>> tokens("window", 10**30, least=1) == FAR
    True
    """
    return min(count(name, value, least), FAR)


def real(
    name: str,
    value: Any,
    least: float = -LARGEST,
    most: float = LARGEST,
    *,
    above: float = -math.inf,
    below: float = math.inf,
) -> float:
    """A finite number from `least` to `most`, and between `above` and `below`.

    >>> real("base", 1.0, above=1)
    Traceback (most recent call last):
    ValueError: base must be a finite number, above 1, not 1.0
    """
    numeric = isinstance(value, (int, float, np.integer, np.floating))
    number: Any = float(cast(Any, value)) if isinstance(value, np.floating) else value  # limits do not fit in a float32
    if numeric and least <= number <= most and above < number < below:
        return float(number)
    limits = [
        *([f"{least:g} or more"] if least > -LARGEST else []),
        *([f"above {above:g}"] if above > -math.inf else []),
        *([f"{most:g} or less"] if most < LARGEST else []),
        *([f"below {below:g}"] if below < math.inf else []),
    ]
    raise ValueError(f"{name} must be {', '.join(['a finite number', *limits])}, not {_shown(value)}")


def choice(name: str, value: Any, names: Iterable[str]) -> None:
    """One of `names`.

    >>> choice("order", "foo", ("normal", "neox"))
    Traceback (most recent call last):
    ValueError: order must be normal or neox, not 'foo'
    """
    known = tuple(names)
    if not (isinstance(value, str) and value in known):
        raise ValueError(f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {_shown(value)}")


def lengths(name: str, values: Sequence[Any], least: int = 0) -> list[int]:
    """How many tokens each of several prompts has.

    >>> lengths("lengths", [2, -1])
    Traceback (most recent call last):
    ValueError: lengths[1] must be a whole number, 0 or more, not -1
    """
    return [count(f"{name}[{i}]", value, least) for i, value in enumerate(values)]


def heads(q: Shape, k: Shape, v: Shape) -> None:
    """The shapes of queries, keys and values in one call. No tokens are fine; no heads are not.

    >>> heads((4, 1, 8), (2, 6, 8), (2, 5, 8))
    Traceback (most recent call last):
    ValueError: v must be (n_kv_head = 2, n_key = 6, v_dim), not (2, 5, 8)
    """
    if (
        (len(q), len(k), len(v)) == (3, 3, 3)
        and k[2] == q[2] > 0
        and v[0] == k[0] > 0
        and v[1] == k[1]
        and v[2] > 0
        and q[0] > 0 == q[0] % k[0]
    ):
        return  # each decoded token comes by here; what follows finds the words
    fits("q", q, n_head=None, n_query=None, head_dim=None)
    fits("k", k, n_kv_head=None, n_key=None, head_dim=q[2])
    fits("v", v, n_kv_head=k[0], n_key=k[1], v_dim=None)
    require(q[2] > 0, f"q must have heads of at least one number, not {tuple(q)}")
    require(v[2] > 0, f"v must have heads of at least one number, not {tuple(v)}")
    shared(q[0], k[0])


def one_token(q: Shape, k: Shape) -> None:
    """The shapes of one token's queries, and of the keys that they meet, as in `heads`.

    >>> one_token((4, 1, 8), (2, 6, 8))
    Traceback (most recent call last):
    ValueError: q must be (n_head, head_dim), not (4, 1, 8)
    """
    if (len(q), len(k)) == (2, 3) and k[2] == q[1] > 0 and k[0] > 0 and q[0] > 0 == q[0] % k[0]:
        return
    fits("q", q, n_head=None, head_dim=None)
    fits("k", k, n_kv_head=None, n_cell=None, head_dim=q[1])
    require(q[1] > 0, f"q must have heads of at least one number, not {tuple(q)}")
    shared(q[0], k[0])


def shared(n_head: int, n_kv_head: int) -> None:
    """Each key head is read by as many query heads as every other.

    >>> shared(3, 2)
    Traceback (most recent call last):
    ValueError: q must have a multiple of the 2 heads of k, at least one each, not 3
    """
    if n_head < 1 or n_kv_head < 1 or n_head % n_kv_head:
        raise ValueError(f"q must have a multiple of the {n_kv_head} heads of k, at least one each, not {n_head}")


def scores(n_head: int, scale: float | None, softcap: float | None, sink_logits: Any = None) -> None:
    """What changes the scores of `n_head` heads. A softcap of 0 would be no attention, so it does not mean "none".

    >>> scores(4, scale=None, softcap=0.0)
    Traceback (most recent call last):
    ValueError: softcap must be a finite number, 1e-30 or more, 1e+30 or less, not 0.0
    """
    if scale is not None:
        real("scale", scale)
    if softcap is not None:
        real("softcap", softcap, LEAST_CAP, MOST_CAP)
    if sink_logits is not None:
        floats("sink_logits", sink_logits)
        fits("sink_logits", sink_logits.shape, n_head=n_head)


def attention(
    q: Any, k: Any, v: Any, scale: float | None = None, softcap: float | None = None, sink_logits: Any = None
) -> None:
    """Queries, keys and values as arrays of floats, with what changes their scores.

    >>> attention(np.ones((1, 1, 2)), np.ones((1, 3, 2)), np.ones((1, 3)))
    Traceback (most recent call last):
    ValueError: v must be (n_kv_head = 1, n_key = 3, v_dim), not (1, 3)
    """
    for name, array in (("q", q), ("k", k), ("v", v)):
        floats(name, array)
    heads(q.shape, k.shape, v.shape)
    scores(len(q), scale, softcap, sink_logits)


def blocks(name: str, array: Any, block_bytes: int) -> None:
    """Bytes whose last axis is whole blocks of so many.

    >>> blocks("blocks", np.zeros(33, dtype=np.uint8), block_bytes=34)
    Traceback (most recent call last):
    ValueError: blocks must be (..., row_bytes) in whole blocks of 34, not (33,)
    """
    if not (isinstance(array, np.ndarray) and cast(Any, array).dtype == np.uint8):
        raise ValueError(f"{name} must be an array of bytes, not {_kind(array)}")
    shape = cast(Any, array).shape
    if len(shape) == 0 or shape[-1] % block_bytes:
        raise ValueError(f"{name} must be (..., row_bytes) in whole blocks of {block_bytes}, not {shape}")


def stack(layers: int, window: int, alpha: float = 0.0) -> None:
    """A stack of windows, and the share of its residual.

    >>> stack(2, 3, alpha=1.5)
    Traceback (most recent call last):
    ValueError: alpha must be a finite number, 0 or more, 1 or less, not 1.5
    """
    count("layers", layers)
    count("window", window, 1)
    real("alpha", alpha, 0, 1)


def stack_in_context(n_token: int, windows: Sequence[int | None], alpha: float) -> list[int | None]:
    """A stack of windows, None for a global layer, over the tokens of a cache; the windows.

    >>> stack_in_context(6, [3, 0], alpha=0.0)
    Traceback (most recent call last):
    ValueError: windows[1] must be a whole number, 1 or more, not 0
    """
    count("n_token", n_token, 1)
    real("alpha", alpha, 0, 1)
    return [None if size is None else count(f"windows[{i}]", size, 1) for i, size in enumerate(windows)]


def bound(window: int, alpha: float) -> None:
    """A window, and a residual that neither passes on everything nor nothing.

    >>> bound(3, alpha=1.0)
    Traceback (most recent call last):
    ValueError: alpha must be a finite number, above 0, below 1, not 1.0
    """
    count("window", window, 1)
    real("alpha", alpha, above=0, below=1)


def _kind(value: Any) -> str:
    return f"of {cast(Any, value).dtype}" if isinstance(value, np.ndarray) else f"a {type(value).__name__}"


def _shown(value: Any) -> str:
    """A number or a name as it was given, and no more of it than fits in a message."""
    shown = repr(cast(Any, value).item() if isinstance(value, np.generic) else value)
    return shown if len(shown) <= 40 else f"{shown[:40]}…"
