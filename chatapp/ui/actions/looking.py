"""What the cache map needs of the engine, and only the screen can ask: looks into a token, and the words of tokens."""

from typing import TYPE_CHECKING

from chatapp.ui.actions.window import WindowActions

if TYPE_CHECKING:
    from chatapp.ui.widgets.inspector.cache_map import CacheMap
    from chatapp.ui.widgets.inspector.inspector import Inspector


class LookingActions(WindowActions):
    """A part of InspectingActions."""

    _inspector: "Inspector"

    def action_heat(self) -> None:
        """The attention of the newest look on top of the cache map, or no longer."""
        self._inspector.action_heat_panel()

    def action_physical(self) -> None:
        """The cells by their numbers, or by the positions of their tokens again."""
        self._inspector.action_physical_panel()

    def action_look(self) -> None:
        """Look into the next token of a reply."""
        from chatapp.chat.view import Phase

        loaded = None if self.chat is None else self.chat.loaded
        if self.chat is None or loaded is None:
            self.show_notice("info", "There is no model to look into yet.")
        elif not loaded.capability.probe.ok:
            why = loaded.capability.probe.why
            self.show_notice("warning", f"What this model attends to cannot be read here. {why}", key="look")
        else:
            self.on_cache_map_look_wanted()
            if self.chat.phase is not Phase.REPLYING:
                self.show_notice("info", "The next token of a reply will be looked into.", key="look")

    def on_cache_map_look_wanted(self) -> None:
        """The map has something to show of a look, and there is none."""
        from chatapp.protocol.commands import Probe

        if self.chat is not None:
            self.chat.send(Probe())

    def on_cache_map_words_wanted(self, event: "CacheMap.WordsWanted") -> None:
        """Which words are under the map's cursor: asked when the engine answers at once, between turns or tokens."""
        from chatapp.chat.view import Phase
        from chatapp.protocol.commands import Spell

        event.stop()
        if self.chat is not None and self.chat.phase in (Phase.IDLE, Phase.REPLYING):
            self.chat.send(Spell(pos=event.pos, n=event.n))
