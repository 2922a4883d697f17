"""Shares of attention as single bytes in the Probed event: precise enough for a colour, small enough to send often.

`share` has even steps from 0 to 1, for sums over many cells. `weight` has eight steps for each halving, for single
cells and turns, whose shares differ by powers of ten: 255 is 1, 247 a half, 1 is 2^-31.75, and 0 is less.
"""

from typing import Final

STEPS_A_HALVING: Final = 8
TOP: Final = 255


def share(level: int) -> float:
    """The share, 0 to 1, of a byte in even steps.

    >>> share(0), share(51), share(255)
    (0.0, 0.2, 1.0)
    """
    return level / TOP


def weight(level: int) -> float:
    """The share, 0 to 1, of a byte in halvings.

    >>> weight(255), weight(247), weight(0)
    (1.0, 0.5, 0.0)
    """
    return 2 ** ((level - TOP) / STEPS_A_HALVING) if level else 0.0
