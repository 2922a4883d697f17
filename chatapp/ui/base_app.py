"""What every app of swachat has: its settings, and themes with the colours of cells."""

from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from textual import on
from textual.app import App
from textual.driver import Driver

from chatapp.presentation.format import nearest
from chatapp.ui.services import Services
from chatapp.ui.textual_fixes.terminal_driver import TerminalLost, terminal_driver

if TYPE_CHECKING:
    from chatapp.config import Config

HUNG_UP = 129
"""The exit code of a program that lost its terminal: what SIGHUP makes of it."""
MOUNT_TIMEOUT_S = 2.0
"""How long the end waits for a screen that is only being made."""


class BaseApp(App[None]):
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
        self.painted = False
        """The first paint is done, and what comes after it has begun."""
        self._ending = False
        first = services.theme(config.ui.theme)
        if first is not None:
            self.register_theme(first)
            self.theme = first.name

    def get_driver_class(self) -> type[Driver]:
        """Textual's, but for a terminal that may go away."""
        return terminal_driver(super().get_driver_class())

    async def finish(self) -> None:
        """What there is to do before the end; nothing here."""

    async def end(self, return_code: int = 0, since: float | None = None) -> None:
        """End the program, however that was asked for (`since` then): the first that asks says the exit code.

        Textual 8.2.8 raises where a widget is taken away that is only being mounted, so the end waits for that.
        """
        since = since or monotonic()
        if not self._whole and monotonic() - since < MOUNT_TIMEOUT_S:
            self.set_timer(0.02, partial(self.end, return_code, since))
        elif not self._ending:
            self._ending = True
            await self.finish()
            self.exit(return_code=return_code)

    @property
    def _whole(self) -> bool:
        """All that the screen is made of is there."""
        return self.painted and all(widget.is_mounted for widget in self.screen.query())

    async def action_quit(self) -> None:
        """End the program."""
        await self.end()

    @on(TerminalLost)
    async def _end_without_terminal(self) -> None:
        await self.end(HUNG_UP)

    @on(Driver.SignalResume)
    def _draw_again(self) -> None:
        """Back in the foreground: the terminal has forgotten the screen."""
        self.refresh()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours of cells for a theme that has none, such as Textual's own."""
        if "cell-sink" in self.current_theme.variables:
            return {}
        from chatapp.ui.widgets.inspector.paint import DEFAULTS

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

    @property
    def theme_name(self) -> str:
        """The theme in use."""
        return self.theme

    def use_theme(self, name: str) -> None:
        """Use this theme, which must be one of those that were loaded."""
        self.theme = name

    def step_theme(self, step: int) -> str | None:
        """Take the theme so many further on; its name, None where there is none."""
        names = self.theme_names
        if not names:
            return None
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + step) % len(names)]
        return self.theme
