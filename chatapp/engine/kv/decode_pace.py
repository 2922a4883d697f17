"""How many tokens one decode takes where it cannot be stopped: as many as take about as long as Esc may take.

A decode that llama.cpp aborts leaves a recurrent state half written, and that cannot go back to before it. There a
chunk is decoded in several steps if it would take longer than `LONGEST_S`, and a stop takes effect between two of them.
"""

from collections.abc import Iterator
from typing import Final

from chatapp.engine.kv.prefill_plan import Chunk

LONGEST_S: Final = 0.3
"""A stop should take half a second; this leaves something for a machine that becomes slower."""
FIRST_TOK: Final = 8
"""Tokens of the first decode, before any speed is known."""
GROWTH: Final = 4
"""Few tokens take more time each than many: the speed of a step says little about one many times as long."""


def next_size(n_tokens: int, seconds: float, most: int) -> int:
    """Tokens of the next decode, after `n_tokens` took `seconds`: `most`, or a smaller power of two, so that a small
    change of speed changes no chunk.

    >>> [next_size(64, seconds, 256) for seconds in (0.01, 0.1, 0.31, 10.0)]
    [256, 128, 32, 1]
    """
    fits = int(min(n_tokens * LONGEST_S / max(seconds, 1e-9), n_tokens * GROWTH))
    return most if fits >= most else 1 << max(0, fits.bit_length() - 1)


class DecodePace:
    """The size of the steps of one cache, from the time that the last whole step took."""

    def __init__(self, most: int, *, stoppable: bool) -> None:
        """`most` is the micro-batch; `stoppable` where a decode can be stopped: then each chunk is one step."""
        self._most, self._stoppable = most, stoppable
        self.size = most if stoppable else min(most, FIRST_TOK)

    def took(self, n_tokens: int, seconds: float) -> None:
        """A decode of so many tokens took so long. A shorter one than was allowed says nothing of the next."""
        if not self._stoppable and n_tokens == self.size:
            self.size = next_size(n_tokens, seconds, self._most)

    def steps(self, chunk: Chunk) -> Iterator[Chunk]:
        """The chunk in the steps that it is decoded in."""
        rest: Chunk | None = chunk
        while rest is not None:
            step, rest = rest.cut(self.size)
            yield step
