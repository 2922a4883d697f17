"""What every app of swachat has: the settings, and themes with colours for cells."""

import asyncio
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

from textual import on
from textual.app import App
from textual.driver import Driver

from chatapp.presentation.format import nearest
from chatapp.ui.clipboard import TERMINAL, words
from chatapp.ui.services import Services
from chatapp.ui.textual_fixes.terminal_driver import TerminalLost, terminal_driver

if TYPE_CHECKING:
    from chatapp.config import Config

HUNG_UP = 129
"""The exit code of a program that lost its terminal: what SIGHUP makes of it."""
MOUNT_TIMEOUT_S = 2.0
"""How long to wait at the end for a screen that is still being mounted."""


class BaseApp(App[None]):
    """The base of the chat and of a replay. The configured theme is in use from the first paint."""

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
        """The first paint is done."""
        self._ending = False
        self._copied = ""
        self._copying = asyncio.Lock()
        first = services.theme(config.ui.theme)
        if first is not None:
            self.register_theme(first)
            self.theme = first.name

    def get_driver_class(self) -> type[Driver]:
        """Textual's driver, made to survive the loss of its terminal."""
        return terminal_driver(super().get_driver_class())

    async def finish(self) -> None:
        """What to do before the end; nothing here."""

    async def end(self, return_code: int = 0, since: float | None = None) -> None:
        """End the program; of several requests, the first (made at `since`) decides the exit code.

        Textual 8.2.8 raises if a widget is removed while it is being mounted, so the end waits for that.
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
        """Every widget of the screen is mounted."""
        return self.painted and all(widget.is_mounted for widget in self.screen.query())

    async def action_quit(self) -> None:
        """End the program."""
        await self.end()

    # ----------------------------------------------------------------------- copying

    @property
    def clipboard(self) -> str:
        """What was copied last in this program."""
        return self._copied

    def copy_to_clipboard(self, text: str) -> None:
        """See App: what Textual's own keys copy goes the same way as everything else."""
        self.copy(text, "the selection")

    def copy(self, text: str, what: str) -> None:
        """Copy a text, and say by which way; `what` is "the message"."""
        self._copied = text
        self.run_worker(self._copy(text, what), group="clipboard")

    async def _copy(self, text: str, what: str) -> None:
        async with self._copying:
            copied = await asyncio.to_thread(self.services.copy, text)
            if copied.way is not None and copied.way.name == TERMINAL:
                super().copy_to_clipboard(text)
        severity = "warning" if copied.way is None else "information"
        self.notify(words(copied, what, len(text)), severity=severity, markup=False)

    def action_help_quit(self) -> None:
        """Ctrl+C with nothing to copy and nothing to stop: say how to quit."""
        self.notify("Ctrl+Q quits.", markup=False)

    # ----------------------------------------------------------------------- the end

    @on(TerminalLost)
    async def _end_without_terminal(self) -> None:
        await self.end(HUNG_UP)

    @on(Driver.SignalResume)
    def _draw_again(self) -> None:
        """Redraw after returning to the foreground: the terminal has lost the screen."""
        self.refresh()

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours for cells in a theme that has none, such as Textual's own."""
        if "cell-sink" in self.current_theme.variables:
            return {}
        from chatapp.ui.widgets.inspector.paint import DEFAULTS

        return {f"cell-{name}": colour for name, colour in DEFAULTS.items()}

    def load_themes(self) -> list[str]:
        """Register all themes; returns what is wrong with those that cannot be used."""
        themes, problems = self.services.themes()
        for theme in themes:
            if theme.name != self.theme:  # registering the one in use would repaint everything
                self.register_theme(theme)
        self.theme_names = [theme.name for theme in themes]
        wanted = self.config.ui.theme
        if wanted in self.available_themes:
            if self.theme != wanted:
                self.theme = wanted
        else:
            hint = nearest(wanted, self.theme_names, f"Available: {', '.join(self.theme_names)}.")
            problems.append(f"There is no theme {wanted}. {hint}")
            if self.theme_names:
                self.theme = self.theme_names[0]
        return problems

    @property
    def theme_name(self) -> str:
        """The theme in use."""
        return self.theme

    def use_theme(self, name: str) -> None:
        """Use this theme, which must be a loaded one."""
        self.theme = name

    def step_theme(self, step: int) -> str | None:
        """Switch to the theme `step` places further on; returns its name, None if there are no themes."""
        names = self.theme_names
        if not names:
            return None
        at = names.index(self.theme) if self.theme in names else -1
        self.theme = names[(at + step) % len(names)]
        return self.theme
