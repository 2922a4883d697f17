"""How often a stored key may be renumbered.

A shift takes every key of the cache out of its type, rotates it and puts it back, and rounding adds up. Relative error
of the worst layer's keys after so many moves, SmolLM2-135M (benchmarks/drift.py):

| keys | 2 | 8 | 20 | 100 | 1000 |
|---|---|---|---|---|---|
| f16 | 0.00009 | 0.00013 | 0.00019 | 0.0006 | 0.004 |
| q8_0 | 0.006 | 0.008 | 0.010 | 0.036 | 0.44 |
| q4_0 | 0.09 | 0.13 | 0.19 | 1.49 | no number |

Keys that stay where they are come out of a shift as they went in, to the bit, whatever their type. So sinks and pinned
turns need no refresh, and a token that moves gets one by leaving: what counts is how often it moves until then.
"""

from typing import Final

from chatapp.cache.memory_plan import quantized

QUANTIZED_MOVES: Final = 20
"""As many as the smallest `evict_share` of the settings (0.05) makes of a window: the error has doubled since the first
moves, and is a tenth of what it is at 100 moves in q4_0."""


def most_moves(type_k: str) -> int | None:
    """How often a token may move before it leaves; None where rounding sets no bound."""
    return QUANTIZED_MOVES if quantized(type_k) else None
