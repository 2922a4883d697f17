"""What a token feels of each distance, by whichever kernels are quick enough: the reference for all but long stacks.

Both compute the same recurrence and subtract nothing on the way. The reference starts at once; the fast kernels need
Numba (the extra `fast`), which takes a second or so to load, and seconds to compile for the first time.
"""

from typing import Final

from chatapp.errors import UserError
from chatapp.lab.shapes import Windows
from kernels import fast
from kernels import reach as reference
from kernels.arrays import Floats

QUICK: Final = 1e9
"""Multiplications that the reference does in a moment."""
MOST_OF_REFERENCE: Final = 5e10
"""Half a minute of them."""
MOST_STEPS: Final = 2e9
"""Of the fast kernels: some seconds."""
EACH_LAYER: Final = 10_000
"""What a layer costs in multiplications, however small its window."""
EACH_POINT: Final = 50
"""What a distance costs in steps, however few the layers: it takes memory too."""


def influence(windows: Windows, window: int | None, alpha: float, tokens: int | None) -> Floats:
    """P(d) of layers that are `window` wide or global, `(tokens,)`; with `tokens` None, of windows alone, for each d.

    UserError where it would take too long.
    """
    layers = len(windows)
    if tokens is None:
        width = window or 1
        multiplications, points, less = (layers * width) ** 2, layers * width, "--layers or --window"
    else:
        looks = sum(min(tokens, size or 1) for size in windows)
        multiplications, points, less = tokens * looks, tokens, "--tokens"
    multiplications += layers * EACH_LAYER
    quick = multiplications <= QUICK or not fast.available()
    if quick and multiplications > MOST_OF_REFERENCE:
        raise UserError(
            "The exact curve of so large a stack would take too long.",
            f"Use a smaller {less}, or install swachat with its extra: swachat[fast].",
        )
    if not quick and points * (layers + EACH_POINT) > MOST_STEPS:
        raise UserError("The exact curve of so large a stack would take too long.", f"Use a smaller {less}.")
    kernels = reference if quick else fast
    if tokens is None:
        return kernels.influence(layers, window or 1, alpha)
    return kernels.influence_in_context(tokens, windows, alpha)
