"""How much each distance influences a token: by the reference kernels, or by the fast ones for long stacks.

Both compute the same recurrence without subtractions. The reference starts at once; the fast kernels need Numba (the
extra `fast`), which takes about a second to load, and seconds to compile the first time.
"""

from typing import Final

from chatapp.errors import UserError
from chatapp.lab.shapes import Windows
from kernels import fast
from kernels import reach as reference
from kernels.arrays import Floats

QUICK: Final = 1e9
"""Multiplications that take the reference a moment."""
MOST_OF_REFERENCE: Final = 5e10
"""Multiplications that take it half a minute."""
MOST_STEPS: Final = 2e9
"""Steps that take the fast kernels a few seconds."""
EACH_LAYER: Final = 10_000
"""What a layer costs in multiplications, however small its window."""
EACH_POINT: Final = 50
"""What a distance costs in steps, however few the layers: it also takes memory."""


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
            "The exact curve of a stack this large would take too long.",
            f"Use a smaller {less}, or install the extra: swachat[fast].",
        )
    if not quick and points * (layers + EACH_POINT) > MOST_STEPS:
        raise UserError("The exact curve of a stack this large would take too long.", f"Use a smaller {less}.")
    kernels = reference if quick else fast
    if tokens is None:
        return kernels.influence(layers, window or 1, alpha)
    return kernels.influence_in_context(tokens, windows, alpha)
