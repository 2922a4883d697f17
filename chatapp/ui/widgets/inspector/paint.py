"""How a block of the cache map is drawn: a character in the theme's cell colours or, without colour, a shade or letter.

| block                  | in colour                                | without colour              |
|------------------------|------------------------------------------|-----------------------------|
| one message            | solid; a reply is paler than its message | █ ▓ odd turn, ▒ ░ even turn |
| a sink, pinned, ...    | solid                                    | a capital: S, P, ...        |
| two things             | split where one ends and the other begins| the lowercase letter of the |
| more things            | a chequer of the two largest             | larger one                  |
| sinks and other things | the left half is sink, however few       | s                           |
| the next token's cell  | a bar                                    | >                           |
| another branch's cell  | hatched grey                             | E                           |
| with the heat on       | a bar, as high as the attention is large | a digit, unless it is 0     |
| too new for the heat   | hatched                                  | /                           |

Sixteen colours cannot be made paler: there a reply is drawn with the shade ▓.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from itertools import groupby

from rich.segment import Segment
from rich.style import Style
from textual.app import App
from textual.color import Color, ColorParseError
from textual.strip import Strip
from textual.widget import Widget

from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group

DEFAULTS: dict[str, str] = {
    "sink": "#e0af68",
    "system": "#b48ead",
    "pinned": "#d0699c",
    "recalled": "#5fb3b3",
    "partial": "#c8643c",
    "turn-a": "#6a9fd8",
    "turn-b": "#7fb069",
    "free": "#565f73",
    "ghost": "#6b7280",
    "window": "#d8dee9",
    "head": "#ffffff",
    "mismatch": "#ff5c57",
    "heat": "#ffe08a",
}
"""Cell colours for themes without any: the theme variables `cell-sink`, `cell-turn-a` and so on override these."""

LETTERS: dict[BlockKind, str] = {
    BlockKind.SINK: "S",
    BlockKind.SYSTEM: "Y",
    BlockKind.PINNED: "P",
    BlockKind.RECALLED: "R",
    BlockKind.PARTIAL: "X",
    BlockKind.TURN_A: "A",
    BlockKind.TURN_B: "B",
    BlockKind.OUTSIDE: "-",
    BlockKind.ELSEWHERE: "E",
    BlockKind.UNSEEN: "_",
    BlockKind.STRAY: "?",
    BlockKind.FREE: "·",
}
_SHADES = {
    (BlockKind.TURN_A, False): "█",
    (BlockKind.TURN_A, True): "▓",
    (BlockKind.TURN_B, False): "▒",
    (BlockKind.TURN_B, True): "░",
}
_SPOKEN = (BlockKind.TURN_A, BlockKind.TURN_B, BlockKind.PINNED, BlockKind.RECALLED, BlockKind.PARTIAL)
_COLOURS = {
    BlockKind.OUTSIDE: "ghost",
    BlockKind.ELSEWHERE: "ghost",
    BlockKind.UNSEEN: "ghost",
    BlockKind.STRAY: "mismatch",
}
"""For kinds without a colour of their own: what the model does not see now looks like what was evicted."""
_GLYPHS = {BlockKind.FREE: "·", BlockKind.OUTSIDE: "╌", BlockKind.UNSEEN: "╌", BlockKind.ELSEWHERE: "▒"}
_EMPTY_KINDS = (BlockKind.FREE, BlockKind.OUTSIDE, BlockKind.UNSEEN)
_PALE = 0.42
_DIM = 0.7
"""How far a block is dimmed towards the background for the heat to stand out against it."""
_EIGHTHS = "▏▎▍▌▋▊▉"
_HEIGHTS = " ▁▂▃▄▅▆▇"

Look = tuple[BlockKind, bool]
"""What decides how cells are drawn: their kind, and whether they are part of a reply."""
_LOOKS: dict[Look, Look] = {
    (kind, reply): (kind, reply and kind in _SPOKEN) for kind in BlockKind for reply in (False, True)
}
"""From the kind, and whether it is part of a reply, to the look."""
_EMPTY: Look = (BlockKind.FREE, False)
_SINK: Look = (BlockKind.SINK, False)


@dataclass(frozen=True, eq=False)
class Palette:
    """The colours of one theme. `plain`: colour must carry no meaning. Equal only to itself, as a cache key must be."""

    colours: Mapping[str, Color]
    background: Color
    plain: bool

    def colour(self, name: str) -> Color:
        """The colour of one of the names in `DEFAULTS`."""
        return self.colours[name]

    @cached_property
    def blends(self) -> bool:
        """False if a colour is one of the terminal's sixteen: how two of these blend is not known."""
        return self.background.ansi is None and all(colour.ansi is None for colour in self.colours.values())

    def of(self, look: Look) -> Color:
        """The colour of cells; that of a reply is blended with the background if the colours can be blended."""
        return self._looks[look]

    @cached_property
    def _looks(self) -> dict[Look, Color]:
        looks: dict[Look, Color] = {}
        for kind in BlockKind:
            colour = self.colours[_COLOURS.get(kind, kind.value)]
            looks[kind, False] = colour
            looks[kind, True] = colour.blend(self.background, _PALE) if self.blends else colour
        return looks

    def style(self, name: str, *, bold: bool = False) -> Style:
        """A text style in one of the cell colours; without colour if colour is off."""
        return Style(color=None if self.plain else self.colours[name].rich_color, bold=bold)


def make_palette(variables: Mapping[str, str], no_color: bool, sixteen: bool = False) -> Palette:
    """The palette of a theme's variables (`App.theme_variables`), made once per theme.

    `sixteen`: the terminal has only sixteen colours. Most themes' colours become indistinct there (sink and message are
    both white), so colour carries no meaning unless the theme is made of the sixteen.
    """
    defaults = DEFAULTS | {name: variables.get("foreground", DEFAULTS[name]) for name in ("window", "head")}
    values = tuple(variables.get(f"cell-{name}", default) for name, default in defaults.items())
    return _palette(values, variables.get("background", "#000000"), no_color, sixteen)


def palette_of(widget: Widget) -> Palette:
    """The palette of a widget's present theme. Looked up for every drawing, so that themes can change."""
    app = app_of(widget)
    return make_palette(app.theme_variables, app.no_color, app.console.color_system == "standard")


def app_of(widget: Widget) -> App[object]:
    """The app that a widget belongs to."""
    return widget.app  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]  Textual says App[Unknown]


@lru_cache(maxsize=16)
def _palette(values: tuple[str, ...], background: str, no_color: bool, sixteen: bool) -> Palette:
    colours = {name: _parse(value, DEFAULTS[name]) for name, value in zip(DEFAULTS, values, strict=True)}
    palette = Palette(colours, _parse(background, "#000000"), no_color or not _tells_apart(colours))
    return replace(palette, plain=True) if sixteen and palette.blends else palette


def _parse(value: str, default: str) -> Color:
    try:
        return Color.parse(value)
    except ColorParseError:
        return Color.parse(default)


def _tells_apart(colours: Mapping[str, Color]) -> bool:
    """False for a theme of greys, or one that paints different things alike: letters must tell them apart then."""
    told = [colours[name] for name in ("sink", "turn-a", "turn-b", "free")]
    if len({(colour.ansi, colour.rgb) for colour in told}) < len(told):
        return False
    return any(colour.ansi is not None or max(colour.rgb) - min(colour.rgb) > 16 for colour in told)


def head(palette: Palette) -> Segment:
    """The mark of the next token's cell."""
    return Segment(">") if palette.plain else Segment("▌", palette.style("head"))


def swatch(kind: BlockKind, reply: bool, palette: Palette) -> Segment:
    """The legend's block for cells that all hold one thing."""
    return _solid((kind, reply), palette)


def row(segments: Sequence[Segment], base: Style) -> Strip:
    """A row of blocks in the widget's own style; neighbours that are drawn alike are one segment."""
    drawn: list[Segment] = []
    styles: dict[int, Style] = {}
    length = 0
    for name, alike in groupby(segments, id):  # blocks that look alike are one object: see the caches below
        same = list(alike)
        length += len(same)
        if name not in styles:
            styles[name] = base + same[0].style
        drawn.append(Segment(same[0].text * len(same), styles[name]))
    return Strip(drawn, length)


def block(group: Group, palette: Palette) -> Segment:
    """One block of the map."""
    _, parts, head = group
    if len(parts) == 1 and not head:
        return _solid(_look(parts[0]), palette)
    if palette.plain:
        return _glyph(_letter(group))
    if len(parts) == 2 and not head:  # like most blocks of a map that is too small for its cache
        first, second = _look(parts[0]), _look(parts[1])
        if first != _SINK != second and palette.of(first) != palette.of(second):
            return _split(first, parts[0].n, second, parts[1].n, palette)
    looks = _looks(parts)
    sums: dict[Look, int] = {}
    for look, n in looks:
        sums[look] = sums.get(look, 0) + n
    if _SINK in sums and len(sums) > 1:
        return _pair("▌", palette.of(_SINK), _largest(sums, leave_out=BlockKind.SINK), palette)
    if group.head:
        return _pair("▌", palette.colour("head"), _look(group.main), palette)
    if len(looks) == 2 and palette.of(looks[0][0]) != palette.of(looks[1][0]):
        return _split(*looks[0], *looks[1], palette)
    kind = group.kind
    main = _largest({look: n for look, n in sums.items() if look[0] is kind})
    if len(sums) == 1 and not group.mixed:
        return _solid(main, palette)
    if len(sums) == 1 and palette.blends:
        return _pair("│", palette.background, main, palette)
    return _pair("▚", palette.of(main), _largest(sums, leave_out=kind), palette)


def heated(group: Group, level: int | None, palette: Palette) -> Segment:
    """One block of the map under the heat: `level` is 0 to 7, None for tokens that were not sampled.

    The heat hides where one message of a block ends and the next begins; behind it is the largest one's colour.
    """
    main = group.main
    if main.kind is BlockKind.STRAY:  # a mismatch matters more than any heat
        return block(group, palette)
    if level is None:
        return block(group, palette) if main.pos is None else unknown(_look(main), palette)
    if palette.plain:
        return _glyph(str(level)) if level else block(group, palette)
    return _bar(level, _look(main), palette)


@lru_cache(maxsize=512)
def _bar(level: int, look: Look, palette: Palette) -> Segment:
    """An eighth of the block for each level, on the colour of what it holds."""
    heat, back = palette.colour("heat").rich_color, palette.of(look)
    if palette.blends:
        back = back.blend(palette.background, _DIM)
    return Segment(_HEIGHTS[level], Style(color=heat, bgcolor=None if look[0] in _EMPTY_KINDS else back.rich_color))


@lru_cache(maxsize=64)
def unknown(look: Look, palette: Palette) -> Segment:
    """A block whose heat is not known."""
    return Segment("/") if palette.plain else Segment("╱", Style(color=palette.of(look).rich_color))


def ghost(index: int, width: int, whole: bool, palette: Palette) -> Segment:
    """The mark of an evicted turn; neighbours differ in shade, and one that was evicted only in part is hatched."""
    return Segment(("░▒"[index % 2] if whole else "╱") * width, palette.style("ghost"))


@lru_cache(maxsize=256)
def _solid(look: Look, palette: Palette) -> Segment:
    kind, reply = look
    if palette.plain:
        return Segment(_SHADES.get(look, LETTERS[kind]))
    style = Style(color=palette.of(look).rich_color)
    if kind in _GLYPHS:
        return Segment(_GLYPHS[kind], style)
    return Segment("▓" if reply and not palette.blends else "█", style)


@lru_cache(maxsize=64)
def _glyph(text: str) -> Segment:
    return Segment(text)


def _letter(group: Group) -> str:
    """The block without colour."""
    if group.sinks:
        return "s" if group.mixed else "S"
    if group.head:
        return ">"
    if group.mixed:
        return LETTERS[group.kind].lower()
    look = _look(group.parts[0])
    return _SHADES.get(look, LETTERS[look[0]])


def _look(part: BlockPart) -> Look:
    return _LOOKS[part.kind, part.role == "assistant"]


def _looks(parts: tuple[BlockPart, ...]) -> list[tuple[Look, int]]:
    """The parts' looks and numbers of cells, in order; neighbours that look alike are merged."""
    looks: list[tuple[Look, int]] = []
    for part in parts:
        look = _look(part)
        if looks and looks[-1][0] == look:
            looks[-1] = (look, looks[-1][1] + part.n)
        else:
            looks.append((look, part.n))
    return looks


def _largest(sums: Mapping[Look, int], leave_out: BlockKind | None = None) -> Look:
    """The look with the most cells; that of empty cells if there is none."""
    best, most = _EMPTY, 0
    for look, n in sums.items():
        if n > most and look[0] is not leave_out:
            best, most = look, n
    return best


def _split(left: Look, n_left: int, right: Look, n_right: int, palette: Palette) -> Segment:
    """Two things side by side, in order, to an eighth of a block."""
    eighths = min(7, max(1, round(8 * n_left / (n_left + n_right))))
    return _eighths(eighths, left, right, palette)


@lru_cache(maxsize=1024)
def _eighths(eighths: int, left: Look, right: Look, palette: Palette) -> Segment:
    return _pair(_EIGHTHS[eighths - 1], palette.of(left), right, palette)


@lru_cache(maxsize=1024)
def _pair(glyph: str, fore: Color, back: Look, palette: Palette) -> Segment:
    """A glyph over what is behind it; free cells have no background."""
    bare = back[0] in _EMPTY_KINDS
    return Segment(glyph, Style(color=fore.rich_color, bgcolor=None if bare else palette.of(back).rich_color))
