"""What workers of the main screen have found out, as messages: a worker never touches a widget."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.message import Message

from chatapp.errors import SwachatError
from chatapp.ui.services import Choice

if TYPE_CHECKING:
    from pathlib import Path

    from chatapp.store import SessionInfo, Store, StoredMessage


class StoreOpened(Message):
    """The store is ready: the prompts of before, and the conversation to go on with."""

    def __init__(
        self, store: "Store", history: list[str], resumed: "tuple[SessionInfo, list[StoredMessage]] | None"
    ) -> None:
        super().__init__()
        self.store = store
        self.history = history
        self.resumed = resumed


class StoreFailed(Message):
    """The store cannot be opened."""

    def __init__(self, error: SwachatError) -> None:
        super().__init__()
        self.error = error


class ModelFound(Message):
    """The file of the model `spec`; `chosen` when the person has just asked for it."""

    def __init__(self, spec: str, path: "Path", chosen: bool) -> None:
        super().__init__()
        self.spec = spec
        self.path = path
        self.chosen = chosen


class ModelMissing(Message):
    """The model cannot be found."""

    def __init__(self, error: SwachatError, chosen: bool) -> None:
        super().__init__()
        self.error = error
        self.chosen = chosen


class SessionRead(Message):
    """A stored conversation that the person chose, with its messages."""

    def __init__(self, session: "SessionInfo", messages: "list[StoredMessage]") -> None:
        super().__init__()
        self.session = session
        self.messages = messages


class ModelsListed(Message):
    """The models to choose from."""

    def __init__(self, found: Sequence[Choice]) -> None:
        super().__init__()
        self.found = found
