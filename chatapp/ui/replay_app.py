"""The application that plays a trace: no engine, no store, no model."""

from typing import TYPE_CHECKING

from chatapp.replay.player import Player
from chatapp.ui.base_app import BaseApp
from chatapp.ui.screens.replay import ReplayScreen
from chatapp.ui.services import Services, real_services

if TYPE_CHECKING:
    from textual.command import Provider

    from chatapp.config import Config


def _palette() -> "type[Provider]":
    from chatapp.ui.actions.palette import ActionProvider

    return ActionProvider


class ReplayApp(BaseApp):
    """Uses only the themes and the layout of the services."""

    COMMANDS = {_palette}

    def __init__(self, config: "Config", player: Player, services: Services | None = None) -> None:
        super().__init__(config, services or real_services())
        self._screen = ReplayScreen(player)

    def get_default_screen(self) -> ReplayScreen:
        """The replay."""
        return self._screen

    def on_mount(self) -> None:
        """Load the other themes after the first paint."""
        self.set_keymap(self.config.keys)
        self.call_after_refresh(self._after_first_paint)

    def _after_first_paint(self) -> None:
        self.painted = True
        self.load_themes()
