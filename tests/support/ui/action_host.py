"""A host of actions without a screen: what an action asks of it is noted, and slow work is done at once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeVar

from textual.screen import Screen

from chatapp.chat.controller import Chat
from chatapp.chat.conversation import ChatMessage, Conversation
from chatapp.chat.view import Phase
from chatapp.config import Config, cache_settings, engine_settings, sampling
from chatapp.errors import SwachatError
from chatapp.protocol.commands import Command
from chatapp.store import Store
from chatapp.ui.inspector_pane import InspectorPane
from chatapp.ui.services import Choice, Services
from chatapp.ui.widgets.prompt import PromptBox
from chatapp.ui.widgets.transcript.transcript import Transcript

T = TypeVar("T")


@dataclass
class SomeThemes:
    """Two themes."""

    theme_names: list[str] = field(default_factory=lambda: ["fjord", "dune"])
    theme_name: str = "fjord"

    def use_theme(self, name: str) -> None:
        """Use this one."""
        self.theme_name = name

    def step_theme(self, step: int) -> str | None:
        """The one so many further on."""
        self.theme_name = self.theme_names[(self.theme_names.index(self.theme_name) + step) % len(self.theme_names)]
        return self.theme_name


def _unused() -> AssertionError:
    return AssertionError("an action that is done without a screen asked for a part of one")


@dataclass
class ActionHost:
    """A `ChatHost`, and the `View` of its chat."""

    store: Store
    chat: Chat | None = None
    model: str | None = None
    chosen: ChatMessage | None = None
    config: Config = field(default_factory=Config)
    themes: SomeThemes = field(default_factory=SomeThemes)
    focused_help: str = ""
    notices: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    toasts: list[str] = field(default_factory=list[str])
    copied: list[str] = field(default_factory=list[str])
    given_back: list[str] = field(default_factory=list[str])
    dialogs: list[Screen[object]] = field(default_factory=list[Screen[object]])
    asked_models: list[str | None] = field(default_factory=list[str | None])
    posted: list[Command] = field(default_factory=list[Command])

    def begin_chat(self, *said: str) -> Chat:
        """A chat in which this was said, by turns, on an engine that is ready."""
        conversation = Conversation(self.store, model="starter", system=None, settings={})
        for asked, replied in zip(said[::2], said[1::2], strict=True):
            conversation.ask(asked)
            conversation.begin_reply()
            conversation.grow(replied)
            conversation.finish_reply("done", None, "end")
        self.chat = Chat(
            self,
            conversation,
            cache=cache_settings(self.config),
            engine=engine_settings(self.config),
            sampling=sampling(self.config),
        )
        self.chat.attach(self.posted.append)
        self.chat.enter(Phase.IDLE)
        return self.chat

    # ----------------------------------------------------------------------- parts of a screen

    @property
    def pane(self) -> InspectorPane:
        """There is none."""
        raise _unused()

    @property
    def transcript(self) -> Transcript:
        """There is none."""
        raise _unused()

    @property
    def prompt(self) -> PromptBox:
        """There is none."""
        raise _unused()

    # ----------------------------------------------------------------------- see Host and ChatHost

    @property
    def services(self) -> Services:
        """Those that list models."""

        def never() -> None:
            raise _unused()

        return Services(
            engine=lambda: (_ for _ in ()).throw(_unused()),
            store=lambda: self.store,
            resolve=lambda spec: (spec or "starter", Path("/models/starter.gguf")),
            models=lambda: [Choice("starter", "starter")],
            remember=lambda spec: never(),
            theme=lambda name: None,
            themes=lambda: ([], []),
        )

    def show_notice(self, level: str, text: str, key: str | None = None) -> None:
        """Note it."""
        self.notices.append((level, text))

    def notify(
        self,
        message: str,
        *,
        severity: Literal["information", "warning"] = "information",
        timeout: float | None = None,
        markup: bool = True,
    ) -> None:
        """Note it."""
        assert not markup, "what people and models say is text"
        self.toasts.append(message)

    def show_dialog(self, dialog: Screen[T], answered: Callable[[T | None], None] | None = None) -> None:
        """Note it."""
        self.dialogs.append(dialog)  # pyright: ignore[reportArgumentType] - whatever it is closed with

    def guarded(self, do: Callable[[], T]) -> T | None:
        """Do it."""
        try:
            return do()
        except SwachatError as error:
            self.show_notice("error", str(error))
            return None

    def in_thread(
        self,
        work: Callable[[], T],
        then: Callable[[T], object],
        *,
        group: str,
        failed: Callable[[SwachatError], object] | None = None,
    ) -> None:
        """Do it at once."""
        then(work())

    @property
    def selected_text(self) -> str:
        """Nothing is."""
        return ""

    def copy(self, text: str, what: str) -> None:
        """Note it."""
        self.copied.append(text)

    def open_link(self, address: str) -> None:
        """Nothing is opened in a test."""
        raise _unused()

    def find_model(self, spec: str | None, *, chosen: bool) -> None:
        """Note it."""
        self.asked_models.append(spec)

    async def quit(self) -> None:
        """There is no program to leave."""
        raise _unused()

    # ----------------------------------------------------------------------- see View

    def show_phase(self) -> None:
        """Not shown."""

    def show_conversation(self) -> None:
        """Not shown."""

    def show_message(self, said: ChatMessage) -> None:
        """Not shown."""

    def show_growth(self, text: str) -> None:
        """Not shown."""

    def show_end(self, said: ChatMessage) -> None:
        """Not shown."""

    def show_without(self, gone: list[ChatMessage]) -> None:
        """Not shown."""

    def show_queue(self) -> None:
        """Not shown."""

    def give_back(self, text: str) -> None:
        """Note it."""
        self.given_back.append(text)

    def show_editing(self, turn: int | None, text: str = "") -> None:
        """Not shown."""

    def show_forecast(self, text: str) -> None:
        """Not shown."""

    def restart_engine(self) -> None:
        """There is no engine to start."""
        raise _unused()
