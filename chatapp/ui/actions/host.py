"""What an action may ask of the screen that it is done on. A test hands it a small object instead."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, Protocol, TypeVar

from chatapp.errors import SwachatError

if TYPE_CHECKING:
    from textual.screen import Screen

    from chatapp.chat.controller import Chat
    from chatapp.chat.conversation import ChatMessage
    from chatapp.config import Config
    from chatapp.replay.player import Player
    from chatapp.ui.inspector_pane import InspectorPane
    from chatapp.ui.services import Services
    from chatapp.ui.widgets.prompt import PromptBox
    from chatapp.ui.widgets.transcript.transcript import Transcript

T = TypeVar("T")


class Themes(Protocol):
    """The colours to choose from."""

    theme_names: list[str]

    @property
    def theme_name(self) -> str:
        """The one in use."""
        ...

    def use_theme(self, name: str) -> None:
        """Use this one of `theme_names`."""
        ...

    def step_theme(self, step: int) -> str | None:
        """Use the one so many further on; its name, None where there is none."""
        ...


class Host(Protocol):
    """The screen of a chat or of a replay."""

    @property
    def config(self) -> "Config":
        """The settings in force."""
        ...

    @property
    def pane(self) -> "InspectorPane":
        """The inspector."""
        ...

    @property
    def themes(self) -> Themes:
        """The themes."""
        ...

    @property
    def focused_help(self) -> str:
        """The help text of what has the focus; empty where it has none."""
        ...

    def show_dialog(self, dialog: "Screen[T]", answered: Callable[[T | None], None] | None = None) -> None:
        """Open a dialog over the screen; `answered` gets what it was closed with."""
        ...

    def notify(
        self,
        message: str,
        *,
        severity: Literal["information", "warning"] = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """A message that goes away by itself, after `timeout` seconds. Pass `markup=False`: it is text."""
        ...

    async def quit(self) -> None:
        """Leave the program."""
        ...


class ReplayHost(Host, Protocol):
    """The screen of a replay."""

    @property
    def player(self) -> "Player":
        """The playing head."""
        ...

    def show_jump(self) -> None:
        """The player was sent elsewhere, or started or paused."""
        ...

    def show_status(self) -> None:
        """The speed has changed."""
        ...

    def focus_bar(self) -> None:
        """The keys go to the bar beneath the conversation."""
        ...


class ChatHost(Host, Protocol):
    """The screen of a chat."""

    @property
    def chat(self) -> "Chat | None":
        """The chat; None before the store is open."""
        ...

    @property
    def model(self) -> str | None:
        """The model as the person named it; None where the default is meant."""
        ...

    @property
    def services(self) -> "Services":
        """The rest of the program."""
        ...

    @property
    def transcript(self) -> "Transcript":
        """The conversation on the screen."""
        ...

    @property
    def prompt(self) -> "PromptBox":
        """Where the person writes."""
        ...

    @property
    def chosen(self) -> "ChatMessage | None":
        """The message that is chosen in the transcript."""
        ...

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """A line in the transcript. It takes the place of the last one where both have the same key."""
        ...

    def guarded(self, do: Callable[[], T]) -> T | None:
        """Do it; an error is shown in the transcript, and None returned."""
        ...

    def in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], object],
        *,
        group: str,
        failed: Callable[[SwachatError], object] | None = None,
    ) -> None:
        """Do slow work in a thread, then call `then` with its result on the event loop.

        An error goes to `failed`, else into the transcript. Newer work of the same group takes the place of older.
        """
        ...

    def show_conversation(self) -> None:
        """Show the whole conversation anew."""
        ...

    def copy(self, text: str) -> None:
        """Copy a text to the clipboard."""
        ...

    def open_link(self, address: str) -> None:
        """Open an address in the browser."""
        ...

    def find_model(self, spec: str | None, *, chosen: bool) -> None:
        """Look for a model's file, then load it; `chosen` where the person has just asked for it."""
        ...

    def restart_engine(self) -> None:
        """End the engine, if any, and start another one."""
        ...
