"""What a chat tells the screen, and the phases of a chat."""

from enum import StrEnum
from typing import Protocol

from chatapp.chat.conversation import ChatMessage
from chatapp.presentation.notices import Level


class Phase(StrEnum):
    """The phase of a chat. The value is the text in the status bar."""

    STARTING = "starting"
    LOADING = "loading"
    MEASURING = "measuring sinks"
    OPENING = "filling the cache"
    IDLE = "ready"
    TOKENIZING = "tokenizing"
    STORING = "storing"
    READING = "reading"
    REPLYING = "replying"
    STOPPING = "stopping"
    PINNING = "pinning"
    RECALLING = "recalling"
    SAVING = "saving the cache"
    DOWN = "no engine"


BUSY = (Phase.TOKENIZING, Phase.READING, Phase.REPLYING, Phase.RECALLING, Phase.STOPPING)
"""The model works, and Esc stops it."""


class View(Protocol):
    """What a chat tells the screen."""

    def show_phase(self) -> None:
        """The phase, its progress or the figures beside it have changed."""

    def show_message(self, said: ChatMessage) -> None:
        """A message was added at the end of the conversation."""

    def show_growth(self, text: str) -> None:
        """The growing reply has more text."""

    def show_end(self, said: ChatMessage) -> None:
        """The growing reply has ended and should be stored."""

    def show_without(self, gone: list[ChatMessage]) -> None:
        """These messages were removed from the conversation."""

    def show_notice(self, level: Level, text: str, key: str | None = None) -> None:
        """A line for the transcript. It replaces the last notice if both have the same key."""

    def show_queue(self) -> None:
        """The queue has changed."""

    def give_back(self, text: str) -> None:
        """Put a text into the prompt, before the draft."""

    def show_editing(self, turn: int | None, text: str = "") -> None:
        """Put the message of a turn into the prompt for editing; None restores the draft."""

    def show_forecast(self, text: str) -> None:
        """Show what sending the draft would do; empty if unknown."""

    def restart_engine(self) -> None:
        """Restart the engine."""
