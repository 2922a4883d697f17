"""Terminal screens as one animated SVG: text stays text, with no script and nothing fetched.

A frame is the rows of a screen. Identical rows are drawn once and reused, the frames are stacked on a strip, and the
strip jumps from frame to frame.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, takewhile
from typing import TypeVar
from xml.sax.saxutils import escape

from pyte.screens import Char

CELL_WIDTH = 8.4
CELL_HEIGHT = 18
BASELINE = 14
FONT_SIZE = 14
DARK = ("#d4d4d4", "#1e1e1e")
"""Default colours of a cell: text and background."""

Row = tuple[Char, ...]
Key = TypeVar("Key")


@dataclass(frozen=True)
class Frame:
    """A screen, and how long it is shown."""

    rows: tuple[Row, ...]
    seconds: float


def film(frames: Sequence[Frame], title: str) -> str:
    """The SVG. All frames must have the size of the first one."""
    width = round(len(frames[0].rows[0]) * CELL_WIDTH)
    height = len(frames[0].rows) * CELL_HEIGHT
    numbers: dict[Row, int] = {}
    strip: list[str] = []
    for i, frame in enumerate(frames):
        for y, row in enumerate(frame.rows):
            number = numbers.setdefault(row, len(numbers))
            strip.append(f'<use href="#r{number}" y="{i * height + y * CELL_HEIGHT + BASELINE}"/>')
    drawn = "".join(f'<g id="r{number}">{"".join(_row(row))}</g>' for row, number in numbers.items())
    total = sum(frame.seconds for frame in frames)
    at = 0.0
    stops: list[str] = []
    for i, frame in enumerate(frames):
        stops.append(f"{100 * at / total:.3f}%{{transform:translateY(-{i * height}px)}}")
        at += frame.seconds
    last = (len(frames) - 1) * height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(title)}</title><style>"
        f"text{{font:{FONT_SIZE}px ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace}}"
        f"#film{{animation:film {total:.2f}s step-end infinite}}@keyframes film{{{''.join(stops)}}}"
        f"@media(prefers-reduced-motion:reduce){{#film{{animation:none;transform:translateY(-{last}px)}}}}"
        f'</style><rect width="{width}" height="{height}" fill="{DARK[1]}"/>'
        f'<defs>{drawn}</defs><g id="film">{"".join(strip)}</g></svg>\n'
    )


def _row(row: Row) -> Iterator[str]:
    """The backgrounds of a row, then its text, one run of equal style at a time. The baseline is at 0."""
    for ground, x, cells in _runs(row, lambda cell: _look(cell)[1]):
        if ground != DARK[1]:
            yield f'<rect x="{x}" y="-{BASELINE}" width="{_width(cells)}" height="{CELL_HEIGHT}" fill="{ground}"/>'
    for (text, _, bold, italics), x, cells in _runs(row, _look):
        blank = len(list(takewhile(lambda cell: cell.data == " ", cells)))
        x, cells = round(x + blank * CELL_WIDTH, 1), cells[blank:]
        while cells and cells[-1].data == " ":
            cells.pop()
        # The cell after a wide character has none; several blanks would be drawn as one.
        said = "".join(cell.data for cell in cells).replace(" ", "\N{NO-BREAK SPACE}")
        if said:
            style = (' font-weight="bold"' if bold else "") + (' font-style="italic"' if italics else "")
            yield f'<text x="{x}" textLength="{_width(cells)}" fill="{text}"{style}>{escape(said)}</text>'


def _runs(row: Row, key: Callable[[Char], Key]) -> Iterator[tuple[Key, float, list[Char]]]:
    """Runs of equal neighbours, and where they begin."""
    at = 0
    for alike, group in groupby(row, key=key):
        cells = list(group)
        yield alike, round(at * CELL_WIDTH, 1), cells
        at += len(cells)


def _width(cells: Sequence[Char]) -> float:
    return round(len(cells) * CELL_WIDTH, 1)


def _look(cell: Char) -> tuple[str, str, bool, bool]:
    text, ground = _colour(cell.fg, DARK[0]), _colour(cell.bg, DARK[1])
    return (ground, text, cell.bold, cell.italics) if cell.reverse else (text, ground, cell.bold, cell.italics)


def _colour(name: str, default: str) -> str:
    return default if name == "default" else f"#{name}" if len(name) == 6 else name
