"""What every app of swachat has: its settings, and themes with the colours of cells."""

from typing import TYPE_CHECKING

from textual.app import App

from chatapp.ui.format import nearest
from chatapp.ui.services import Services

if TYPE_CHECKING:
    from chatapp.config import Config


class ThemedApp(App[None]):
    """The base of the chat and of a replay. The theme that is asked for is there at the first paint."""

    TITLE = "swachat"
    CSS_PATH = "app.tcss"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]
    VERTICAL_BREAKPOINTS = [(0, "-tiny"), (9, "-short"), (16, "-tall")]

    def __init__(self, config: "Config", services: Services) -> None:
        super().__init__()
        self.config = config
        self.services = services
        self.theme_names: list[str] = []
        first = services.theme(config.ui.theme)
        if first is not None:
            self.register_theme(first)
            self.theme = first.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of cells for a theme that has none, such as Textual's own."""
        if "cell-sink" in self.current_theme.variables:
            return {}
        from chatapp.ui.widgets.paint import DEFAULTS

        return {f"cell-{name}": colour for name, colour in DEFAULTS.items()}

    def load_themes(self) -> list[str]:
        """Offer all themes; what is wrong with those that cannot be used."""
        themes, problems = self.services.themes()
        for theme in themes:
            if theme.name != self.theme:  # to register the one in use again would paint everything again
                self.register_theme(theme)
        self.theme_names = [theme.name for theme in themes]
        wanted = self.config.ui.theme
        if wanted in self.available_themes:
            if self.theme != wanted:
                self.theme = wanted
        else:
            hint = nearest(wanted, self.theme_names, f"There are: {', '.join(self.theme_names)}.")
            problems.append(f"There is no theme {wanted}. {hint}")
            if self.theme_names:
                self.theme = self.theme_names[0]
        return problems

    def step_theme(self, step: int) -> str | None:
        """Take the theme so many further on; its name, None where there is none."""
        names = self.theme_names
        if not names:
            return None
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + step) % len(names)]
        return self.theme
