"""Curves over time, as the numbers that an SVG needs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

HEIGHT = 100.0


@dataclass(frozen=True)
class Curve:
    """One curve: pieces of `x,y` points (0 .. columns, HEIGHT at zero), its largest and last value as text."""

    name: str
    about: str
    pieces: list[str]
    top: str
    last: str


def curve(
    name: str, about: str, values: Sequence[float | None], said: Callable[[float], str], top: float | None = None
) -> Curve | None:
    """A curve between zero and `top`, or its largest value; None where nothing was measured."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    most = top if top is not None else max(known)
    pieces: list[list[str]] = [[]]
    for x, value in enumerate(values):
        if value is None:
            if pieces[-1]:
                pieces.append([])
            continue
        y = HEIGHT - (HEIGHT * min(value, most) / most if most > 0 else 0.0)
        pieces[-1] += [f"{x},{y:.1f}", f"{x + 1},{y:.1f}"]
    return Curve(name, about, [" ".join(piece) for piece in pieces if piece], said(most), said(known[-1]))
