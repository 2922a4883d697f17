"""How often a stored key may be renumbered.

A shift converts every key of the cache from its type, rotates it and converts it back, and rounding errors add up.
Relative error of the worst layer's keys by number of moves, SmolLM2-135M (benchmarks/drift.py):

| keys | 2 | 8 | 20 | 100 | 1000 |
|---|---|---|---|---|---|
| f16 | 0.00009 | 0.00013 | 0.00019 | 0.0006 | 0.004 |
| q8_0 | 0.006 | 0.008 | 0.010 | 0.036 | 0.44 |
| q4_0 | 0.09 | 0.13 | 0.19 | 1.49 | no number |

Keys that do not move are unchanged by a shift, to the bit, whatever their type. So sinks and pinned turns need no
refresh, and what counts for a token that moves is how often it does so until it is evicted.
"""

from typing import Final

from chatapp.cache.memory_plan import quantized

QUANTIZED_MOVES: Final = 20
"""The number of evictions in a window with the smallest `evict_share` of the settings (0.05): the error has doubled
since the first moves, and is a tenth of that at 100 moves in q4_0."""


def most_moves(type_k: str) -> int | None:
    """How often a token may move before it is evicted; None where rounding sets no bound."""
    return QUANTIZED_MOVES if quantized(type_k) else None
