"""The command palette (Ctrl+P), filled from the registry."""

from collections.abc import Iterable
from functools import partial
from typing import Protocol

from textual.command import DiscoveryHit, Hit, Hits, Provider

from chatapp.ui.action_table import ACTIONS, Action, do, shown_keys


class Offering(Protocol):
    """A screen that the palette opens over."""

    def offers(self, action: Action) -> bool:
        """True if the action is available now."""
        ...


class ActionProvider(Provider):
    """The command palette's entries: the actions that are available now."""

    def _offered(self) -> Iterable[Action]:
        screen: Offering = self.screen  # pyright: ignore[reportAssignmentType] - the palette opens over it only
        return (action for action in ACTIONS if action.in_palette and screen.offers(action))

    async def discover(self) -> Hits:
        """All available actions, in the registry's order."""
        for action in self._offered():
            yield DiscoveryHit(self._label(action), partial(self._run, action), text=action.title, help=action.help)

    async def search(self, query: str) -> Hits:
        """The available actions that match what was typed."""
        matcher = self.matcher(query)
        for action in self._offered():
            score = matcher.match(action.title)
            if score > 0:
                yield Hit(score, matcher.highlight(action.title), partial(self._run, action), help=action.help)

    def _label(self, action: Action) -> str:
        keys = shown_keys(action.keys)
        return f"{action.title}   {keys}" if keys else action.title

    async def _run(self, action: Action) -> None:
        await self.screen.run_action(do(action.id))
