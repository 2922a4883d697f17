"""The text that a model is given, as the engine reports it: that of the window, or of messages that are only tried."""

from chatapp.protocol.events import Event
from chatapp.protocol.values import Ghost, Wire


class TextPiece(Wire, frozen=True, kw_only=True):
    """A stretch of text, or one special token spelled out. A character that several tokens share is whole."""

    text: str
    special: bool = False


class TextPart(Wire, frozen=True, kw_only=True):
    """Consecutive tokens of one message. `turn`, `role` and `kind` are as in CellRun; `kind` is empty where nothing is
    cached. `tokens` counts them, None where there is no vocabulary.

    `lost` tokens of the same message were evicted before its piece `lost_at`.
    """

    turn: int
    role: str
    pieces: list[TextPiece]
    tokens: int | None
    kind: str = ""
    lost: int = 0
    lost_at: int = 0


class WindowShown(Event, frozen=True, kw_only=True):
    """What the cache holds, in order of position, and the newest turns that were evicted.

    `pending` closes the last reply: it is decoded with the next message.
    """

    parts: list[TextPart]
    ghosts: list[Ghost]
    pending: TextPart | None
    n_ctx: int


class PromptRendered(Event, frozen=True, kw_only=True):
    """What would be cached after the messages of RenderPrompt. `reference` is the template's output for all of them at
    once; None where it was not asked for.
    """

    parts: list[TextPart]
    reference: str | None
    warnings: list[str]
