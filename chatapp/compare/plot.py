"""Two curves plotted with characters: A and B where they are apart, * where they overlap."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.units import significant

A, B, BOTH, NOTHING = "A", "B", "*", " "


HEADING = "Perplexity of each part of the text (* where A and B coincide):"
"""What stands over the plot of two perplexities."""


@dataclass(frozen=True)
class Plot:
    """Rows of marks from the highest value to the lowest, and the label of each."""

    labels: list[str]
    """All of one width; the values at the top, in the middle and at the bottom."""
    rows: list[str]

    def lines(self) -> list[str]:
        """As plain text."""
        return [f"{label} ┤{row.rstrip()}" for label, row in zip(self.labels, self.rows, strict=True)]


def plot(a: Sequence[float], b: Sequence[float], width: int, height: int) -> Plot:
    """Both over the same text, `width` by `height` characters; values are positive, their axis is logarithmic.

    The longer curve takes the whole width; a column shows the geometric mean of the parts that it covers.
    """
    parts = max(len(a), len(b))
    columns = [(_at(a, column, width, parts), _at(b, column, width, parts)) for column in range(width)] if parts else []
    values = [value for pair in columns for value in pair if value is not None]
    low, high = (min(values), max(values)) if values else (0.0, 0.0)
    grid = [[NOTHING] * width for _ in range(height)]
    for column, pair in enumerate(columns):
        for mark, value in zip((A, B), pair, strict=True):
            if value is not None:
                row = grid[height - 1 - round((height - 1) * (value - low) / (high - low or 1.0))]
                row[column] = mark if row[column] == NOTHING else BOTH
    shown = {0: high, height // 2: high - (high - low) * (height // 2) / max(1, height - 1), height - 1: low}
    labels = [significant(math.exp(shown[row])) if values and row in shown else "" for row in range(height)]
    wide = max(map(len, labels), default=0)
    return Plot([label.rjust(wide) for label in labels], ["".join(row) for row in grid])


def _at(curve: Sequence[float], column: int, width: int, parts: int) -> float | None:
    """The mean logarithm of what the column covers; None after the end of the curve."""
    first = column * parts // width
    here = curve[first : max(first + 1, (column + 1) * parts // width)]
    return sum(map(math.log, here)) / len(here) if here else None
