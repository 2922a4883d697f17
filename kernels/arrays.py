"""The array types of this library.

The reference computes in float64 whatever it is given: its rounding (1e-16) is then far below that of the float32 and
float16 engines that are tested against it.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
"""What the kernels return."""
AnyFloats: TypeAlias = NDArray[np.floating]
"""What they take: any floating point array."""
Ints: TypeAlias = NDArray[np.int64]
"""Positions, sequence numbers, experts."""
Bools: TypeAlias = NDArray[np.bool_]
"""Masks: True where the key can be seen."""
Rule: TypeAlias = Callable[[Ints, Ints], Bools]
"""A mask rule: from positions of the queries and of the keys to a mask of (n_query, n_key)."""
