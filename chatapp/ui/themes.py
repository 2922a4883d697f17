"""Themes: YAML files of colours for the interface and for the cells of the cache map, as Textual themes.

Shipped themes and a person's own are read alike. An invalid theme is skipped and reported; it never keeps the others
from being used. A theme either gives every colour by value or uses only `ansi_*`, the terminal's own sixteen: what a
terminal shows for those is not known, so they cannot be blended with others.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from textual.color import Color, ColorParseError
from textual.theme import Theme

from chatapp import paths
from chatapp.config.explain import explain
from chatapp.config.yamlfile import YamlFile, read_yaml
from chatapp.errors import ConfigError
from chatapp.text import LONGEST_PATH, one_line


def _colour(text: str) -> str:
    """The colour in one spelling: #RRGGBB, or ansi_name. A translucent colour would differ on every background."""
    try:
        colour = Color.parse(text)
    except ColorParseError:
        colour = None
    if colour is None or colour.auto or (colour.ansi is None and colour.a < 1):
        raise ValueError('must be a colour ("#1a2b3c", "teal", "ansi_red")')
    return colour.hex


def _name(text: str) -> str:
    if not re.fullmatch("[a-z0-9][a-z0-9-]{0,39}", text):
        raise ValueError("must be at most 40 lowercase letters, digits and hyphens")
    return text


Colour = Annotated[str, AfterValidator(_colour)]


class _Part(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class Colours(_Part):
    """Colours of the interface, by Textual's names."""

    primary: Colour
    secondary: Colour
    accent: Colour
    foreground: Colour
    background: Colour
    surface: Colour
    panel: Colour
    success: Colour
    warning: Colour
    error: Colour


class CellColours(_Part):
    """Colours of the cache map, by what a cell holds; `turn_a` and `turn_b` alternate from turn to turn."""

    sink: Colour
    system: Colour
    pinned: Colour
    turn_a: Colour
    turn_b: Colour
    recalled: Colour
    partial: Colour
    free: Colour
    ghost: Colour
    window: Colour
    head: Colour
    mismatch: Colour
    heat: Colour


class ThemeFile(_Part):
    """One theme, as in its file."""

    name: Annotated[str, AfterValidator(_name)]
    dark: bool
    colors: Colours
    cells: CellColours


def load_themes(folders: Sequence[Path] | None = None) -> tuple[list[Theme], list[str]]:
    """The valid themes, and one line for each problem.

    Folders are read in order (default: the shipped one, then the person's own) and need not exist; within one, files
    are read in order of name. A theme replaces the one of the same name from an earlier folder.
    """
    if folders is None:
        folders = (paths.data_dir() / "themes", paths.user_themes_dir())
    themes: dict[str, Theme] = {}
    problems: list[str] = []
    for folder in folders:
        taken: dict[str, Path] = {}
        files, unreadable = _files(folder)
        problems += unreadable
        for file in files:
            theme, wrong = _load(file)
            if theme is not None and theme.name in taken:
                first = one_line(taken[theme.name].name)
                what = f"{file}: the name {theme.name} is taken by {first}."
                wrong = [ConfigError(what, "Choose another name.")]
            elif theme is not None:
                taken[theme.name] = file
                themes[theme.name] = theme
            problems += map(str, wrong)
    return list(themes.values()), problems


def load_theme(name: str, folders: Sequence[Path]) -> Theme | None:
    """The theme of this name from the file of the same name, if it is valid: all that the first screen needs.

    Reading all themes takes 60 ms, which can wait until after the first screen. None if only `load_themes` can tell.
    """
    if Path(name).name != name:
        return None
    for folder in reversed(folders):
        file = folder / f"{name}.yaml"
        if file.is_file():
            theme, problems = _load(file)
            return theme if theme is not None and theme.name == name and not problems else None
    return None


def _files(folder: Path) -> tuple[list[Path], list[str]]:
    try:
        names = sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    except (FileNotFoundError, NotADirectoryError):
        return [], []
    except OSError as error:
        return [], [f"The themes in {one_line(str(folder), LONGEST_PATH)} cannot be read: {error.strerror}."]
    return names, []


def _load(file: Path) -> tuple[Theme | None, list[ConfigError]]:
    try:
        read = read_yaml(file)
    except ConfigError as error:
        return None, [error]
    try:
        theme = ThemeFile.model_validate(read.values)
    except ValidationError as error:
        return None, explain(error, ThemeFile, read.where)
    mixed = _mixed(theme, read)
    return (None, mixed) if mixed else (_textual(theme), [])


def _mixed(theme: ThemeFile, read: YamlFile) -> list[ConfigError]:
    """The first colour by value in a theme that also uses the terminal's colours."""
    colours = {
        (section, name): colour
        for section, part in (("colors", theme.colors), ("cells", theme.cells))
        for name, colour in part.model_dump().items()
    }
    by_value = [way for way, colour in colours.items() if not _is_ansi(colour)]
    if not by_value or len(by_value) == len(colours):
        return []
    what = f"{read.where(by_value[0])}: {'.'.join(by_value[0])} is not an ansi_ colour, but others are."
    return [ConfigError(what, "Use only ansi_ colours, or none.")]


def _is_ansi(colour: str) -> bool:
    return colour.startswith("ansi_")


def _textual(theme: ThemeFile) -> Theme:
    ansi = _is_ansi(theme.colors.background)
    cells = {f"cell-{name.replace('_', '-')}": colour for name, colour in theme.cells.model_dump().items()}
    return Theme(
        name=theme.name,
        dark=theme.dark,
        ansi=ansi,
        variables=cells | (_ansi_variables(theme) if ansi else {}),
        **theme.colors.model_dump(),
    )


def _ansi_variables(theme: ThemeFile) -> dict[str, str]:
    """Variables that Textual presets, or does not derive, for a theme of sixteen colours: they follow the theme."""
    colours = theme.colors
    return {
        "ansi-background": "ansi_black" if theme.dark else "ansi_white",
        "ansi-foreground": "ansi_white" if theme.dark else "ansi_black",
        "border": colours.primary,
        "border-blurred": "ansi_bright_black",
        "block-cursor-background": colours.background,
        "block-cursor-foreground": colours.primary,
        "block-cursor-text-style": "bold reverse",
        "footer-key-foreground": colours.accent,
        "input-cursor-text-style": "reverse",
        "scrollbar": colours.primary,
        "scrollbar-hover": colours.primary,
        "scrollbar-active": colours.accent,
        "scrollbar-background": colours.background,
        "scrollbar-background-hover": colours.background,
        "scrollbar-background-active": colours.background,
    }
