"""What a chat tells the screen, and the words for what is going on."""

from enum import StrEnum
from typing import Protocol

from chatapp.chat.conversation import ChatMessage
from chatapp.presentation.notices import Level


class Phase(StrEnum):
    """What is going on. The value is the word in the status bar."""

    STARTING = "starting"
    LOADING = "loading"
    MEASURING = "measuring its sinks"
    OPENING = "filling the cache"
    IDLE = "ready"
    READING = "reading"
    REPLYING = "replying"
    STOPPING = "stopping"
    PINNING = "pinning"
    RECALLING = "recalling"
    SAVING = "saving the cache"
    DOWN = "no engine"


BUSY = (Phase.READING, Phase.REPLYING, Phase.RECALLING, Phase.STOPPING)
"""The model works, and Esc stops it."""


class View(Protocol):
    """What a chat tells the screen."""

    def show_phase(self) -> None:
        """The phase, its progress or the numbers beside it have changed."""

    def show_message(self, said: ChatMessage) -> None:
        """A message has come to the end of the conversation."""

    def show_growth(self, text: str) -> None:
        """The growing reply has got more text."""

    def show_end(self, said: ChatMessage) -> None:
        """The growing reply has ended; it is time to write it."""

    def show_without(self, gone: list[ChatMessage]) -> None:
        """These messages have left the conversation."""

    def show_notice(self, level: Level, text: str, key: str | None = None) -> None:
        """One line for the transcript. It takes the place of the last notice where both have the same key."""

    def show_queue(self) -> None:
        """The queue has changed."""

    def give_back(self, text: str) -> None:
        """A text goes into the prompt, before what is there."""

    def show_editing(self, turn: int | None, text: str = "") -> None:
        """The message of a turn goes into the prompt; None: what stood there before comes back."""

    def show_forecast(self, text: str) -> None:
        """What sending the draft would do; empty where nothing is known."""

    def restart_engine(self) -> None:
        """The engine must be started again."""
