"""Values in tenths of the largest one: the grades that a table of attention or of load is drawn with."""

from collections.abc import Sequence

GRADES = 10


def grades(values: Sequence[float], top: float) -> list[int]:
    """The tenths of `top`, which is above 0, that each of `values` reaches, 0 to 9.

    >>> grades([0.0, 0.04, 0.05, 0.25, 0.499, 0.5], 0.5)
    [0, 0, 1, 5, 9, 9]
    """
    scale, last = GRADES / top, GRADES - 1
    return [min(last, int(value * scale + 1e-9)) for value in values]
