"""Keys that come at once are obeyed in their order, also where one of them moves the focus or opens a dialog.

Textual hands a key to the focused widget and takes the next one before the first has had its effect: of Esc and a word
that come in one read (a fast typist over ssh, a script), the word went to the dialog that Esc was about to close, and
was lost. So after each key that may do more than write, the next one waits until every widget on the way of the first
has handled what was sent to it.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING

from textual import events
from textual.dom import DOMNode
from textual.timer import Timer
from textual.widgets import Input, TextArea

if TYPE_CHECKING:
    from textual.app import App

ROUNDS = 2
"""Ways through the widgets: the first ends with what the key did, the second with what that has posted."""
LOOK_AGAIN_S = 0.01
LATEST_S = 0.5
"""How long a key may hold up those after it."""


class KeysInTurn:
    """Gives an app its keys and pastes one after the other."""

    def __init__(self, app: "App[None]", press: Callable[[events.Key | events.Paste], Awaitable[None]]) -> None:
        """`press` does what a key or a paste does; it is called from the app's own message loop."""
        self._app, self._press = app, press
        self._waiting: deque[events.Key | events.Paste] = deque()
        self._number = 0
        """Which key is having its effect; anything that another one has left behind is ignored."""
        self._latest: Timer | None = None
        """Runs while a key has its effect."""

    async def take(self, event: events.Key | events.Paste) -> None:
        """Do what it does, now or when it is its turn."""
        if self._latest is not None:
            self._waiting.append(event)
        else:
            await self._do(event)

    async def _do(self, event: events.Key | events.Paste) -> None:
        await self._press(event)
        if not _only_writes(event, self._app.focused):
            self._number += 1
            self._latest = self._app.set_timer(LATEST_S, self._next)
            await self._follow(self._number, ROUNDS, [])

    async def _follow(self, number: int, rounds: int, way: list[DOMNode]) -> None:
        """Come back when the next widget on the way has handled what it has got so far."""
        if number != self._number or self._latest is None:
            return
        while way or rounds:
            if not way:
                way, rounds = self._way(), rounds - 1
            if way.pop(0).call_later(self._follow, number, rounds, way):
                return
        screen = self._app.screen
        if not screen.is_mounted or (screen.focused is None and screen.focus_chain):  # a dialog that is being opened
            self._app.set_timer(LOOK_AGAIN_S, partial(self._follow, number, 1, []))
        else:
            await self._next()

    def _way(self) -> list[DOMNode]:
        """From where keys go to now, up to the app."""
        return list((self._app.focused or self._app.screen).ancestors_with_self)

    async def _next(self) -> None:
        if self._latest is not None:
            self._latest.stop()
            self._latest = None
        while self._waiting and self._latest is None:
            await self._do(self._waiting.popleft())


def _only_writes(event: events.Key | events.Paste, focused: DOMNode | None) -> bool:
    """True for a letter in a text, which neither moves the focus nor opens or closes anything."""
    return isinstance(event, events.Paste) or (event.is_printable and isinstance(focused, Input | TextArea))
