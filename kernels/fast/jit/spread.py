"""The sum over a window at every place, in time that does not depend on the window."""

from typing import Any

import numpy as np
from numba import prange

from kernels.fast.jit.compiler import parallel


@parallel
def window_sums(p: Any, window: int, out: Any) -> None:
    """out[i] = p[i - window + 1] + ... + p[i], in float64; outside of `p` it is 0. `out` may be longer than `p`.

    Every window is the end of one block of `window` places and the beginning of the next (van Herk 1992, Gil and Werman
    1993, with sums in place of maxima). Nothing is ever subtracted, so the smallest sums are as exact as the largest;
    a running sum would drown them in the rounding of the largest.
    """
    n_block = (len(out) + window - 1) // window
    for block in prange(n_block):
        start = block * window
        ends = np.zeros(window + 1)  # ends[j]: the sum of the block before from its place j on
        for j in range(window - 1, -1, -1):
            i = start - window + j
            ends[j] = ends[j + 1] + (p[i] if 0 <= i < len(p) else 0.0)
        begun = 0.0
        for j in range(min(window, len(out) - start)):
            i = start + j
            begun += p[i] if i < len(p) else 0.0
            out[i] = ends[j + 1] + begun
