"""What an action may ask of the screen that it acts on. A test passes a small object instead."""

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
    """The themes to choose from."""

    theme_names: list[str]

    @property
    def theme_name(self) -> str:
        """The one in use."""
        ...

    def use_theme(self, name: str) -> None:
        """Use this one of `theme_names`."""
        ...

    def step_theme(self, step: int) -> str | None:
        """Switch to the theme `step` places further on; returns its name, None if there are no themes."""
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
        """The help text of the focused widget; empty if it has none."""
        ...

    def show_dialog(self, dialog: "Screen[T]", answered: Callable[[T | None], None] | None = None) -> None:
        """Open a dialog over the screen; `answered` gets its result."""
        ...

    def notify(
        self,
        message: str,
        *,
        severity: Literal["information", "warning"] = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Show a message that disappears after `timeout` seconds. Pass `markup=False`: it is text."""
        ...

    async def quit(self) -> None:
        """Quit the program."""
        ...


class ReplayHost(Host, Protocol):
    """The screen of a replay."""

    @property
    def player(self) -> "Player":
        """The player of the trace."""
        ...

    def show_jump(self) -> None:
        """Show that the player has jumped, started or paused."""
        ...

    def show_status(self) -> None:
        """Show that the speed has changed."""
        ...

    def focus_bar(self) -> None:
        """Focus the bar beneath the conversation."""
        ...


class ChatHost(Host, Protocol):
    """The screen of a chat."""

    @property
    def chat(self) -> "Chat | None":
        """The chat; None before the store is open."""
        ...

    @property
    def model(self) -> str | None:
        """The model as the person named it; None for the default."""
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
        """Where the person types."""
        ...

    @property
    def chosen(self) -> "ChatMessage | None":
        """The message that is selected in the transcript."""
        ...

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """Show a line in the transcript. It replaces the last one if both have the same key."""
        ...

    def guarded(self, do: Callable[[], T]) -> T | None:
        """Call `do`; if it fails, show the error in the transcript and return None."""
        ...

    def in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], object],
        *,
        group: str,
        failed: Callable[[SwachatError], object] | None = None,
    ) -> None:
        """Run slow work in a thread, then call `then` with its result on the event loop.

        An error goes to `failed`, or else to the transcript. Newer work replaces older work of the same group.
        """
        ...

    def show_conversation(self) -> None:
        """Show the whole conversation again."""
        ...

    @property
    def selected_text(self) -> str:
        """What is selected in the transcript or in the prompt; empty if nothing is."""
        ...

    def copy(self, text: str, what: str) -> None:
        """Copy a text, and say by which way; `what` is "the message"."""
        ...

    def open_link(self, address: str) -> None:
        """Open an address in the browser."""
        ...

    def find_model(self, spec: str | None, *, chosen: bool) -> None:
        """Find a model's file, then load it; `chosen` if the person has just asked for it."""
        ...

    def restart_engine(self) -> None:
        """End the engine, if any, and start another one."""
        ...
