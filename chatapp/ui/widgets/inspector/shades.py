"""Numbers as a row of shades: how a table of attention or of experts' load is drawn.

A value is drawn by the tenths of the largest value that it reaches, the same in every theme: paler or stronger in
colour, a denser glyph where a terminal has sixteen colours, a digit where colour must carry no meaning.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import groupby

from textual.content import Content, Span
from textual.style import Style

from chatapp.presentation.grades import GRADES, grades
from chatapp.ui.widgets.inspector.paint import Palette

_NOTHING = "·"
"""Less than a tenth."""
_GLYPHS = "·░░░▒▒▒▓▓█"


def shades(values: Sequence[float], top: float, colour: str, palette: Palette, *, each: int = 1) -> Content:
    """A shade `each` columns wide for every value, in the cell colour of this name."""
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
    """Text and style of each level."""
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
