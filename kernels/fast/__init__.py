"""The kernels that have to be fast, in Numba, each with a slow twin of the same name in `kernels`.

    attend_window   a prompt, a chunk or one token over sinks and a window  twin: attend_online, sinks_and_window
    attention_mass  what one token looks at, straight from a cache          twin: kernels.attention_mass
    influence       how far a stack of windows sees                         twin: kernels.influence
    influence_in_context                                                    twin: kernels.influence_in_context

They compute in float32 (the curves in float64), on all threads and without the interpreter's lock. The first call of
each compiles it, which takes seconds, and keeps the result on disk: beside the code, or in the user's cache where that
cannot be written. Importing this package imports NumPy alone. Where Numba is missing the twin is used, and a
`NumbaMissing` warning says so once; `available()` and `why()` tell beforehand.
"""

from kernels.fast.attention import attend_window
from kernels.fast.fallback import NumbaMissing, available, why
from kernels.fast.mass import attention_mass
from kernels.fast.reach import influence, influence_in_context
from kernels.fast.rows import CacheRows

__all__ = [
    "CacheRows",
    "NumbaMissing",
    "attend_window",
    "attention_mass",
    "available",
    "influence",
    "influence_in_context",
    "why",
]
