"""The themes: all shipped ones can be read by eyes of every kind, and a wrong one is named and left out."""

from itertools import combinations
from pathlib import Path

import pytest
from coloraide import Color
from hypothesis import given
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.theme import BUILTIN_THEMES, Theme
from textual.widgets import Label

from chatapp import paths
from chatapp.text import visible
from chatapp.ui.themes import CellColours, load_theme, load_themes

SHIPPED = {theme.name: theme for theme in load_themes((paths.data_dir() / "themes",))[0]}
BY_VALUE = sorted(name for name, theme in SHIPPED.items() if not theme.ansi)
GREYS = ("monochrome",)
TEXTS = ("foreground", "primary", "secondary", "accent", "success", "warning", "error")
GROUNDS = ("background", "surface", "panel")
DRAWN = ("background", "surface")
"""What the cache map is drawn on."""
LEAST_CONTRAST = {"window": 4.5, "mismatch": 4.5, "free": 1.2}
"""WCAG 2.1: 4.5 for text, 3 for shapes that carry meaning. Free cells are meant to be quiet."""
LEAST_DIFFERENCE = 10.0
"""CIEDE2000 between any two cells: far above the 2 that a person notices side by side."""

GOOD = (paths.data_dir() / "themes" / "ember.yaml").read_text(encoding="utf-8")


def colour(theme: Theme, name: str) -> str:
    value = getattr(theme, name)
    assert isinstance(value, str)
    return value


def cells(theme: Theme) -> dict[str, str]:
    return {name.removeprefix("cell-"): value for name, value in theme.variables.items() if name.startswith("cell-")}


def contrast(one: str, other: str) -> float:
    return Color(one).contrast(Color(other), method="wcag21")


def difference(one: str, other: str, seen_as: str | None = None) -> float:
    """CIEDE2000, to an eye with one kind of colour blindness where `seen_as` names it."""
    pair = [Color(text).filter(seen_as) if seen_as else Color(text) for text in (one, other)]
    return pair[0].delta_e(pair[1], method="2000")


# --------------------------------------------------------------------------- the shipped ones


def test_the_shipped_themes_are_all_right() -> None:
    themes, problems = load_themes((paths.data_dir() / "themes",))
    assert problems == []
    names = {theme.name for theme in themes}
    assert names >= {"swachat-dark", "swachat-light", "okabe-ito", "terminal", "monochrome", "ember", "fjord", "dawn"}
    assert {theme.dark for theme in themes} == {True, False}
    for file in (paths.data_dir() / "themes").iterdir():
        assert file.stem in names, f"{file.name} holds a theme of another name"


@pytest.mark.parametrize("name", BY_VALUE)
def test_text_can_be_read_on_every_ground(name: str) -> None:
    theme = SHIPPED[name]
    ratios = {
        (text, ground): contrast(colour(theme, text), colour(theme, ground)) for text in TEXTS for ground in GROUNDS
    }
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


@pytest.mark.parametrize("name", BY_VALUE)
def test_cells_stand_out_from_the_ground(name: str) -> None:
    theme = SHIPPED[name]
    weak = {
        (cell, ground): ratio
        for cell, value in cells(theme).items()
        for ground in DRAWN
        if (ratio := contrast(value, colour(theme, ground))) < LEAST_CONTRAST.get(cell, 3)
    }
    assert weak == {}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_no_two_cells_look_alike(name: str) -> None:
    values = cells(SHIPPED[name])
    assert len(set(values.values())) == len(values) == len(CellColours.model_fields)
    if name in GREYS or SHIPPED[name].ansi:
        return  # thirteen greys lie close together (letters tell them apart), and a terminal's colours are unknown
    alike = [
        pair for pair in combinations(values, 2) if difference(values[pair[0]], values[pair[1]]) < LEAST_DIFFERENCE
    ]
    assert alike == []


@pytest.mark.parametrize("eye", ["deutan", "protan", "tritan"])
def test_the_cells_of_okabe_ito_differ_to_colour_blind_eyes(eye: str) -> None:
    values = cells(SHIPPED["okabe-ito"])
    alike = {
        pair: found
        for pair in combinations(values, 2)
        if (found := difference(values[pair[0]], values[pair[1]], eye)) < 9
    }
    assert alike == {}


def test_the_terminal_theme_uses_only_the_terminals_own_colours() -> None:
    theme = SHIPPED["terminal"]
    assert theme.ansi
    named = [colour(theme, name) for name in (*TEXTS, *GROUNDS)]
    assert all(value.startswith("ansi_") for value in (*named, *theme.variables.values()) if "reverse" not in value)
    assert [colour(theme, ground) for ground in GROUNDS] == ["ansi_default"] * 3


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_a_theme_gives_every_variable_that_textuals_own_give(name: str) -> None:
    theme = SHIPPED[name]
    model = BUILTIN_THEMES["ansi-dark" if theme.ansi else "textual-dark"]
    assert set(model.to_color_system().generate()) - set(theme.to_color_system().generate()) == set()


async def test_every_theme_can_be_worn_and_gives_its_cell_colours_to_style_sheets() -> None:
    """Each theme in turn colours a label by `$cell-turn-a`."""

    class Wearer(App[None]):
        CSS = "Label { color: $cell-turn-a; background: $background; }"

        def __init__(self) -> None:
            super().__init__()
            for theme in SHIPPED.values():
                self.register_theme(theme)
            self.theme = "dawn"  # before the style sheet is read: Textual's own themes have no $cell-turn-a

        def compose(self) -> ComposeResult:
            yield Label("cell")

    app = Wearer()
    async with app.run_test() as pilot:
        for theme in SHIPPED.values():
            app.theme = theme.name
            await pilot.pause()
            assert app.theme_variables["cell-turn-a"] == theme.variables["cell-turn-a"]
            assert app.query_one(Label).styles.color.hex == theme.variables["cell-turn-a"]


# --------------------------------------------------------------------------- a person's own


def test_a_persons_theme_joins_the_shipped_ones_and_may_replace_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    own = paths.user_themes_dir()
    own.mkdir(parents=True)
    (own / "a.yaml").write_text(GOOD.replace("name: ember", "name: mine"))
    (own / "b.yml").write_text(GOOD.replace('sink: "#f2b83f"', "sink: gold"))
    (own / "notes.txt").write_text("not a theme")
    themes, problems = load_themes()
    assert problems == []
    assert {theme.name for theme in themes} == {*SHIPPED, "mine"}
    (ember,) = [theme for theme in themes if theme.name == "ember"]
    assert ember.variables["cell-sink"] == "#FFD700"


def test_good_and_bad_come_back_together(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: [")
    (tmp_path / "good.yaml").write_text(GOOD)
    themes, problems = load_themes((tmp_path,))
    assert [theme.name for theme in themes] == ["ember"]
    assert len(problems) == 1
    assert problems[0].startswith(f"{tmp_path / 'bad.yaml'}, line 1: this is not valid YAML")


def test_the_theme_in_the_documentation_is_right(tmp_path: Path) -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "themes.md").read_text(encoding="utf-8")
    (tmp_path / "mine.yaml").write_text(text.split("```yaml\n")[1].split("```")[0])
    themes, problems = load_themes((tmp_path,))
    assert problems == []
    assert [theme.name for theme in themes] == ["mine"]
    assert all(f"`{name}`" in text for name in SHIPPED)


def test_folders_that_are_not_there_are_no_problem(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert load_themes((tmp_path / "missing", tmp_path / "file")) == ([], [])


MISTAKES = {
    ('primary: "#e78a4e"', "primary: blurple"): 'FILE, line 5: colors.primary: must be a colour ("#1a2b3c", "teal", '
    '"ansi_red"), not "blurple".',
    ('primary: "#e78a4e"', "primary: '#e78a4e80'"): 'FILE, line 5: colors.primary: must be a colour ("#1a2b3c", '
    '"teal", "ansi_red"), not "#e78a4e80".',
    ('primary: "#e78a4e"', "primary: auto"): 'FILE, line 5: colors.primary: must be a colour ("#1a2b3c", "teal", '
    '"ansi_red"), not "auto".',
    ('primary: "#e78a4e"', "primary: 5"): "FILE, line 5: colors.primary must be text, not 5.",
    ('primary: "#e78a4e"', "primary: ansi_red"): "FILE, line 6: colors.secondary is not an ansi_ colour, but others "
    "are. Use only ansi_ colours, or none.",
    ('sink: "#f2b83f"', 'sinks: "#f2b83f"'): "FILE, line 15: the key cells.sink is missing. Add cells.sink.\n"
    "FILE, line 16: unknown key cells.sinks. Did you mean cells.sink?",
    ("dark: true", "dark: 'yes'"): 'FILE, line 3: dark must be true or false, not "yes".',
    ("dark: true", "dark: true\ndrak: 1"): "FILE, line 4: unknown key drak. Did you mean dark?",
    ("name: ember", "name: '[b]x'"): "FILE, line 2: name: must be at most 40 lowercase letters, digits and hyphens, "
    'not "[b]x".',
    ("name: ember", "name: ember\nname: x"): "FILE, line 3: duplicate key name, first set on line 2. "
    "Remove one of them.",
    ("name: ember", "name: !!python/name:os.system"): "FILE, line 2: the tag "
    "tag:yaml.org,2002:python/name:os.system is not allowed. Write a plain value.",
}


@pytest.mark.parametrize("change", MISTAKES)
def test_a_mistake_names_file_line_and_key_and_the_theme_is_left_out(tmp_path: Path, change: tuple[str, str]) -> None:
    assert change[0] in GOOD
    file = tmp_path / "mine.yaml"
    file.write_text(GOOD.replace(*change, 1))
    themes, problems = load_themes((tmp_path,))
    assert themes == []
    assert "\n".join(problems).replace(str(file), "FILE") == MISTAKES[change]


def test_two_files_of_one_folder_cannot_have_one_name(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(GOOD)
    themes, problems = load_themes((tmp_path,))
    assert [theme.name for theme in themes] == ["ember"]
    assert problems == [f"{tmp_path / 'b.yaml'}: the name ember is taken by a.yaml. Choose another name."]


@given(st.text(max_size=30))
def test_no_text_in_place_of_a_colour_breaks_anything(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    data = GOOD.replace('"#e78a4e"', text).encode("utf-8", "surrogatepass")
    (folder / "any.yaml").write_bytes(data)
    themes, problems = load_themes((folder,))
    assert bool(themes) != bool(problems)
    assert all("\n" not in problem and visible(problem) == problem for problem in problems)


def test_the_first_theme_is_the_one_that_reading_all_gives(tmp_path: Path) -> None:
    """By its file's name, the person's own before the shipped one; what is not plain sailing is left to load_themes."""
    shipped = paths.data_dir() / "themes"
    for theme in load_themes([shipped])[0]:
        assert load_theme(theme.name, [shipped]) == theme
    own = tmp_path / "ember.yaml"
    own.write_text((shipped / "ember.yaml").read_text().replace("dark: true", "dark: false"))
    mine = load_theme("ember", [shipped, tmp_path])
    assert mine is not None
    assert not mine.dark
    own.write_text("name: ember\n")
    assert load_theme("ember", [shipped, tmp_path]) is None
    assert load_theme("nowhere", [shipped, tmp_path]) is None
    assert load_theme("../themes/ember", [shipped]) is None
