"""The chat's screen as actions see it: the `ChatHost` of `chatapp.ui.actions`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget

from chatapp.errors import SwachatError
from chatapp.ui.base_app import BaseApp
from chatapp.ui.inspector_pane import InspectorPane
from chatapp.ui.screens.chat_view import ChatView
from chatapp.ui.screens.drafts import Drafts
from chatapp.ui.widgets.prompt import PromptBox
from chatapp.ui.widgets.transcript.transcript import Transcript

if TYPE_CHECKING:
    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import ChatMessage
    from chatapp.config import Config
    from chatapp.engine.client import Engine
    from chatapp.store import Store
    from chatapp.ui.services import Services

T = TypeVar("T")


class Owner(Protocol):
    """The program that a chat's screen belongs to: it stops the engine and closes the store."""

    engine: "Engine | None"
    """The newest engine."""

    def start_engine(self, post: Callable[[Message], object]) -> "Engine":
        """A new engine, whose events are posted; one that is still running is stopped first."""
        ...

    def keep_store(self, store: "Store") -> None:
        """Keep the store, to close it at the end."""
        ...

    def after_first_paint(self) -> None:
        """The screen has been painted for the first time."""
        ...


class ScreenHost:
    """See `ChatHost`."""

    def __init__(self, screen: Screen[None], app: BaseApp, owner: Owner, view: ChatView, pane: InspectorPane) -> None:
        self._screen, self._app, self._owner, self._view = screen, app, owner, view
        self.pane = pane
        self.drafts = Drafts(self, view)

    @property
    def config(self) -> "Config":
        """The settings in force."""
        return self._app.config

    @property
    def services(self) -> "Services":
        """The rest of the program."""
        return self._app.services

    @property
    def themes(self) -> BaseApp:
        """The themes."""
        return self._app

    @property
    def focused_help(self) -> str:
        """The help text of the focused widget, or of its nearest ancestor that has one."""
        widget = self._screen.focused
        while widget is not None:
            if widget.HELP is not None:
                return widget.HELP
            widget = widget.parent if isinstance(widget.parent, Widget) else None
        return ""

    @property
    def chat(self) -> "Chat | None":
        """The chat."""
        return self._view.chat

    @property
    def model(self) -> str | None:
        """The model as the person named it."""
        return self._view.model

    @property
    def transcript(self) -> Transcript:
        """The conversation on the screen."""
        return self._view.transcript

    @property
    def prompt(self) -> PromptBox:
        """Where the person types."""
        return self._view.prompt

    @property
    def chosen(self) -> "ChatMessage | None":
        """The message that is selected in the transcript."""
        view = self.transcript.chosen
        return None if view is None else view.said

    # ----------------------------------------------------------------------- what is shown

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """Show a line in the transcript."""
        self._view.show_notice(level, text, key)

    def show_conversation(self) -> None:
        """Show the whole conversation again."""
        self._view.show_conversation()
        self.drafts.follow()

    def show_dialog(self, dialog: Screen[T], answered: Callable[[T | None], None] | None = None) -> None:
        """Open a dialog."""
        self._app.push_screen(dialog, answered)

    def notify(
        self,
        message: str,
        *,
        severity: Literal["information", "warning"] = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a message that disappears by itself."""
        self._app.notify(message, severity=severity, timeout=timeout, markup=markup)

    # ----------------------------------------------------------------------- what is done

    def guarded(self, do: Callable[[], T]) -> T | None:
        """Call `do`; an error is shown in the transcript."""
        try:
            return do()
        except SwachatError as error:
            self._tell_error(error)
            return None

    def deliver(self, do: Callable[[], object]) -> None:
        """Call `do` on the event loop; called in a thread."""
        self._screen.call_later(do)

    def in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], object],
        *,
        group: str,
        failed: Callable[[SwachatError], object] | None = None,
    ) -> None:
        """Run slow work in a thread."""

        def run() -> None:
            try:
                found = work()
            except SwachatError as error:
                self._screen.call_later(failed or self._tell_error, error)
            else:
                self._screen.call_later(then, found)

        self._screen.run_worker(run, thread=True, exclusive=True, group=group)

    @property
    def selected_text(self) -> str:
        """What is selected in the transcript or in the prompt."""
        return self._screen.get_selected_text() or self.prompt.prompt.selected_draft

    def copy(self, text: str, what: str) -> None:
        """Copy a text, and say by which way."""
        self._app.copy(text, what)

    def open_link(self, address: str) -> None:
        """Open an address."""
        self._app.open_url(address)

    async def quit(self) -> None:
        """Quit the program."""
        await self._app.action_quit()

    def _tell_error(self, error: SwachatError) -> None:
        self.show_notice("error", str(error))

    # ----------------------------------------------------------------------- the model and the engine

    def restart_engine(self) -> None:
        """Stop the engine, if any, and start another one."""
        if self.chat is not None:
            self.chat.attach(self._owner.start_engine(self._screen.post_message).post)

    def find_model(self, spec: str | None, *, chosen: bool) -> None:
        """Find a model's file, then load it."""
        self.in_thread(
            partial(self.services.resolve, spec),
            partial(self._model_found, chosen),
            group="model",
            failed=partial(self._model_missing, chosen),
        )

    def _model_found(self, chosen: bool, found: tuple[str, Path]) -> None:
        if self.chat is None:
            return
        self._view.model, path = found
        self.chat.aside(partial(self.chat.conversation.use_model, self._view.model))
        if chosen:
            self.restart_engine()
        self.chat.use_model(str(path))

    def _model_missing(self, chosen: bool, error: SwachatError) -> None:
        if chosen:
            self._tell_error(error)
        elif self.chat is not None:
            self.chat.no_model(error)
