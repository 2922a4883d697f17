"""What workers of the main screen have found out, as messages: a worker never touches a widget."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from textual.message import Message

from chatapp.errors import SwachatError
from chatapp.ui.services import Choice

if TYPE_CHECKING:
    from pathlib import Path

    from chatapp.chat.branches import Branch
    from chatapp.chat.conversation import Conversation, Said
    from chatapp.store import Store


class StoreOpened(Message):
    """The store is ready: the prompts of before, and the conversation to go on with."""

    def __init__(self, store: "Store", history: list[str], resumed: "Conversation | None") -> None:
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
    """A stored conversation that the person chose."""

    def __init__(self, conversation: "Conversation") -> None:
        super().__init__()
        self.conversation = conversation


class BranchesRead(Message):
    """The branches of a conversation, and each one's messages as they are shown."""

    def __init__(self, conversation: "Conversation", branches: "list[tuple[Branch, list[Said]]]") -> None:
        super().__init__()
        self.conversation = conversation
        self.branches = branches


class AlternativeRead(Message):
    """The branch of a conversation that has another message in the place of `chosen`."""

    def __init__(self, conversation: "Conversation", branch: "list[Said]", chosen: "Said") -> None:
        super().__init__()
        self.conversation = conversation
        self.branch = branch
        self.chosen = chosen


class ModelsListed(Message):
    """The models to choose from."""

    def __init__(self, found: Sequence[Choice]) -> None:
        super().__init__()
        self.found = found
