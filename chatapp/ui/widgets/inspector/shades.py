"""Numbers as a row of shades: how a table of attention or of expert load is drawn.

A value is drawn in tenths of the largest value, the same in every theme: paler or stronger in colour, a sparser or
denser glyph if the terminal has sixteen colours, a digit if colour must carry no meaning.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from textual.content import Content, Span
from textual.style import Style

from chatapp.presentation.grades import GRADES, grades
from chatapp.ui.widgets.inspector.paint import Palette

_NOTHING = "·"
"""Stands for less than a tenth."""
_GLYPHS = "·░░░▒▒▒▓▓█"


def shades(values: Sequence[float], top: float, colour: str, palette: Palette, *, each: int = 1) -> Content:
    """A shade `each` columns wide for every value, in the named cell colour."""
    looks = _looks(colour, palette, each)
    levels = grades(values, top)
    text = "".join([looks[level][0] for level in levels])
    if palette.plain:
        return Content(text)
    spans: list[Span] = []
    end = 0
    for level, same in groupby(levels):
        start, end = end, end + each * len(list(same))
        spans.append(Span(start, end, looks[level][1]))
    return Content(text, spans)


@lru_cache(maxsize=16)
def _looks(colour: str, palette: Palette, each: int) -> list[tuple[str, Style]]:
    """The text and style of each level."""
    return [(_glyph(level, palette, each), _style(level, colour, palette)) for level in range(GRADES)]


def _glyph(level: int, palette: Palette, each: int) -> str:
    if palette.plain:
        return (str(level) if level else _NOTHING).ljust(each)
    if not level:
        return _NOTHING.ljust(each)
    return ("█" if palette.blends else _GLYPHS[level]) * each


def _style(level: int, colour: str, palette: Palette) -> Style:
    if not level:
        return Style(foreground=palette.colour("free"))
    full = palette.colour(colour)
    return Style(foreground=palette.background.blend(full, (level + 1) / GRADES) if palette.blends else full)
