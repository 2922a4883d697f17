"""The application: it owns the engine, the store and the themes, and shows the chat."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual import events, work
from textual.message import Message

from chatapp.text import visible
from chatapp.ui.action_table import key_problems
from chatapp.ui.base_app import BaseApp
from chatapp.ui.bridge import Bridge
from chatapp.ui.keys_in_turn import KeysInTurn
from chatapp.ui.screens.chat import ChatScreen
from chatapp.ui.services import Services, real_services
from chatapp.ui.textual_fixes import alt_enter, paste
from chatapp.ui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from textual.command import Provider

    from chatapp.config import Config
    from chatapp.engine.client import Engine
    from chatapp.store import Store


def _palette() -> "type[Provider]":
    """Imported when the palette opens: it would take a tenth of the time to the first paint."""
    from chatapp.ui.actions.palette import ActionProvider

    return ActionProvider


class SwachatApp(BaseApp):
    """Everything is passed as an argument, so that tests can pass an engine and a store of their own."""

    COMMANDS = {_palette}

    def __init__(
        self,
        config: "Config",
        services: Services | None = None,
        *,
        model: str | None = None,
        resume: bool = False,
        session: str | None = None,
    ) -> None:
        """`model` as a person writes it; `resume` resumes the last conversation, `session` a named one."""
        alt_enter.install()
        paste.install()
        super().__init__(config, services or real_services())
        self.engine: Engine | None = None
        self._store: Store | None = None
        self._chat_screen = ChatScreen(self, model=model, resume=resume, session=session)
        self._typed_ahead: list[events.Event] | None = []
        """What was typed before there was a prompt; None from then on."""
        self._keys = KeysInTurn(self, self._press)

    def get_default_screen(self) -> ChatScreen:
        """The chat."""
        return self._chat_screen

    def after_first_paint(self) -> None:
        """Report problems of the settings, once there is a screen to show them on."""
        self.painted = True
        self.set_keymap(self.config.keys)
        for problem in [*self.load_themes(), *key_problems(self.config.keys)]:
            self._chat_screen.show_notice("warning", problem)
        typed, self._typed_ahead = self._typed_ahead or [], None
        for event in typed:
            self._chat_screen.query_one(Prompt).post_message(event)

    async def on_event(self, event: events.Event) -> None:
        """Keep what is typed before the first paint; take everything else that is typed in its turn."""
        if not isinstance(event, events.Key | events.Paste):
            await super().on_event(event)
        elif self._typed_ahead is not None:
            self._typed_ahead.append(event)
        elif event.is_forwarded:
            await super().on_event(event)
        else:
            await self._keys.take(event)

    async def _press(self, event: events.Key | events.Paste) -> None:
        """What is written over the chat goes to the prompt. Control characters pasted into a dialog are neutralized.

        The prompt takes a paste as it is, and draws control characters as symbols.
        """
        self.app_focus = True
        if self.screen is self._chat_screen:
            self._chat_screen.direct(event)
        if isinstance(event, events.Paste) and not isinstance(self.focused, Prompt):
            event.text = visible(event.text)
        await super().on_event(event)

    # ----------------------------------------------------------------------- engine and store

    def start_engine(self, post: Callable[[Message], object]) -> "Engine":
        """A new engine, whose events are posted; one that is still running is stopped first."""
        old, self.engine = self.engine, self.services.engine()
        self._run_engine(self.engine, old, post)
        return self.engine

    @work(group="engine")
    async def _run_engine(self, engine: "Engine", old: "Engine | None", post: Callable[[Message], object]) -> None:
        """Never two at a time: a model's memory must be freed before another one is loaded."""
        if old is not None:
            await old.stop()
        await Bridge(engine, post, 1 / self.config.ui.frames_per_second).run()

    def keep_store(self, store: "Store") -> None:
        """Keep the store, to close it at the end."""
        self._store = store

    async def finish(self) -> None:
        """Store everything that is still unwritten, and the cache."""
        await self._chat_screen.save_all()

    async def on_unmount(self) -> None:
        """However the program ends, stop the engine and close the store."""
        if self.engine is not None:
            await self.engine.stop()
        if self._store is not None:
            await self._chat_screen.finish_store()
            self._store.close()

    def action_command_palette(self) -> None:
        """Open the palette, which lists the actions of the chat, only over the chat."""
        if self.screen is self._chat_screen:
            from textual.command import CommandPalette

            self.push_screen(CommandPalette(id="--command-palette"))
