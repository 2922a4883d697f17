"""The rolling buffer: a cache of fixed size in which the newest token takes the cell of the oldest.

Mistral 7B (arXiv 2310.06825, section 2, Rolling Buffer Cache). Slot = position mod W. With sinks, the first
n_sink tokens have cells of their own and the rest rolls in the others.
"""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from kernels import checks
from kernels.arrays import Ints

EMPTY = -1
"""Position of a cell that holds nothing yet."""


def slot_of(position: int, window: int, n_sink: int = 0) -> int:
    """The cell that the token at `position` takes: `position mod window`, after the cells of the sinks.

    ValueError for a position below 0, a window without a token, and fewer than no sinks.

    >>> [slot_of(position, window=4) for position in range(6)]
    [0, 1, 2, 3, 0, 1]
    >>> [slot_of(position, window=4, n_sink=1) for position in range(8)]
    [0, 1, 2, 3, 4, 1, 2, 3]
    """
    position, n_sink = checks.count("position", position), checks.count("n_sink", n_sink)
    window = checks.count("window", window, 1)
    if position < n_sink:
        return position
    return n_sink + (position - n_sink) % window


class RollingBuffer:
    """A cache of `n_sink + window` cells; each holds one item of `shape`: a key, a value, or here a word.

    With W = 4, "a" is the fifth word and takes the cell of "The":

    >>> buffer = RollingBuffer(4, shape=(), dtype="U5")
    >>> buffer.append("The cat is on".split())
    >>> buffer.append(["a"])
    >>> buffer.cells.tolist(), buffer.positions.tolist()
    (['a', 'cat', 'is', 'on'], [4, 1, 2, 3])
    >>> buffer.append(["chair"])
    >>> buffer.cells.tolist(), buffer.in_order().tolist()
    (['a', 'chair', 'is', 'on'], ['is', 'on', 'a', 'chair'])

    With one sink and a window of 3, "The" stays:

    >>> buffer = RollingBuffer(3, n_sink=1, shape=(), dtype="U5")
    >>> buffer.append("The cat is on a chair".split())
    >>> buffer.cells.tolist(), buffer.in_order().tolist()
    (['The', 'a', 'chair', 'on'], ['The', 'on', 'a', 'chair'])
    """

    cells: NDArray[Any]
    """What each cell holds: `(n_sink + window, *shape)`."""
    positions: Ints
    """The position of each cell's token, EMPTY where there is none: `(n_sink + window,)`."""
    written: int
    """Tokens appended so far; the next one gets this position."""

    def __init__(self, window: int, *, n_sink: int = 0, shape: tuple[int, ...], dtype: DTypeLike = np.float64) -> None:
        """ValueError for a window without a token, fewer than no sinks, and a shape with an axis below 0."""
        window, n_sink = checks.count("window", window, 1), checks.count("n_sink", n_sink)
        shape = tuple(checks.count(f"shape[{i}]", size) for i, size in enumerate(shape))
        self._window = window
        self._n_sink = n_sink
        self.cells = np.zeros((n_sink + window, *shape), dtype=dtype)
        self.positions = np.full(n_sink + window, EMPTY, dtype=np.int64)
        self.written = 0

    def append(self, items: ArrayLike) -> None:
        """Store the next tokens, `(n_token, *shape)`; if not all fit, the last ones stay (and the sinks).

        ValueError for items of another shape, as a single one without its axis of tokens is, and of another kind.
        """
        try:
            new = np.asarray(items, dtype=self.cells.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"items must be an array of {self.cells.dtype}: {error}") from error
        shape = self.cells.shape[1:]
        if new.shape != (0,):  # an empty list
            axes = {f"shape[{i}]": size for i, size in enumerate(shape)}
            checks.fits("items", new.shape, n_token=None, **axes)
        for item in new:
            slot = slot_of(self.written, self._window, self._n_sink)
            self.cells[slot] = item
            self.positions[slot] = self.written
            self.written += 1

    def order(self) -> Ints:
        """The slots that hold something, from the oldest token to the newest: `(n_filled,)`."""
        filled = np.flatnonzero(self.positions != EMPTY)
        return filled[np.argsort(self.positions[filled])]

    def in_order(self) -> NDArray[Any]:
        """The items in the order of the conversation, `(n_filled, *shape)`; mistral-inference calls it unrotate."""
        return self.cells[self.order()]

    def positions_in_order(self) -> Ints:
        """The position of each item of `in_order`: `(n_filled,)`."""
        return self.positions[self.order()]
