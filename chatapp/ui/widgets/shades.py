"""Numbers as a row of shades: how a table of attention or of experts' load is drawn.

A value is drawn by the tenths of the largest value that it reaches, the same in every theme: paler or stronger in
colour, a denser glyph where a terminal has sixteen colours, a digit where colour must carry no meaning.
"""

from collections.abc import Sequence
from itertools import groupby

from textual.content import Content
from textual.style import Style

from chatapp.ui.widgets.paint import Palette

GRADES = 10
_NOTHING = "·"
"""Less than a tenth."""
_GLYPHS = "·░░░▒▒▒▓▓█"


def grade(value: float, top: float) -> int:
    """The tenths of `top` that `value` reaches, 0 to 9.

    >>> [grade(value, 0.5) for value in (0.0, 0.04, 0.05, 0.25, 0.499, 0.5)]
    [0, 0, 1, 5, 9, 9]
    """
    return 0 if top <= 0 else max(0, min(GRADES - 1, int(GRADES * value / top + 1e-9)))


def shades(values: Sequence[float], top: float, colour: str, palette: Palette, *, each: int = 1) -> Content:
    """A shade `each` columns wide for every value, in the cell colour of this name."""
    parts: list[tuple[str, Style]] = []
    for level, same in groupby(grade(value, top) for value in values):
        n = sum(1 for _ in same)
        parts.append((_glyph(level, palette, each) * n, _style(level, colour, palette)))
    return Content.assemble(*parts)


def _glyph(level: int, palette: Palette, each: int) -> str:
    if palette.plain:
        return (str(level) if level else _NOTHING).ljust(each)
    if not level:
        return _NOTHING.ljust(each)
    return ("█" if palette.blends else _GLYPHS[level]) * each


def _style(level: int, colour: str, palette: Palette) -> Style:
    if palette.plain:
        return Style()
    if not level:
        return Style(foreground=palette.colour("free"))
    full = palette.colour(colour)
    return Style(foreground=palette.background.blend(full, (level + 1) / GRADES) if palette.blends else full)
