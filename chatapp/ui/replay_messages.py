"""The recorded messages and notices of a trace as items of the chat's transcript."""

from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.chat.conversation import ChatMessage
from chatapp.presentation.notices import NOT_RECORDED
from chatapp.presentation.remark import Remark
from chatapp.presentation.transcript_at import RecordedMessage, RecordedNotice
from chatapp.store import Role, State

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant"}
_ENDS: dict[str, State] = {"cancelled": "stopped", "error": "failed"}


@dataclass(frozen=True)
class TranscriptChanges:
    """How a transcript has to change to show other recorded items."""

    pieces: list[ChatMessage | Remark]
    """All items; an unchanged one is the same object as before."""
    growing: ChatMessage | None
    """The reply that grew and has not ended."""
    grown: str
    """The text that it gained."""
    ended: list[ChatMessage]
    """Replies that were growing before and have ended."""


class ReplayMessages:
    """The transcript's items for the recorded ones, cached, as they are requested with each frame."""

    def __init__(self) -> None:
        self._made: dict[tuple[int, int], tuple[object, ChatMessage | Remark]] = {}
        """By the item's key: its changing part, and the piece made from it."""
        self._ended: list[ChatMessage] = []

    def changes(self, items: Sequence[RecordedMessage | RecordedNotice]) -> TranscriptChanges:
        """The changes from the items of the last call to these."""
        self._ended = []
        growing, grown = None, ""
        last = items[-1] if items else None
        if isinstance(last, RecordedMessage) and last.growing:
            made = self._made.get(last.key)
            before = made[1] if made is not None else None
            if isinstance(before, ChatMessage) and before.state == "growing" and last.text.startswith(before.text):
                growing, grown, before.text = before, last.text[len(before.text) :], last.text
                self._made[last.key] = (_changing(last), before)
        pieces = [self._piece(item) for item in items]
        return TranscriptChanges(pieces, growing, grown, self._ended)

    def _piece(self, item: RecordedMessage | RecordedNotice) -> ChatMessage | Remark:
        changing = _changing(item)
        made = self._made.get(item.key)
        if made is not None and made[0] == changing:
            return made[1]
        piece = _said(item) if isinstance(item, RecordedMessage) else Remark(item.notice.level, item.notice.text)
        before = made[1] if made is not None else None
        if (
            isinstance(piece, ChatMessage)
            and isinstance(before, ChatMessage)
            and before.state == "growing" != piece.state
        ):
            before.text, before.state, before.stats = piece.text, piece.state, piece.stats
            before.stop_reason = piece.stop_reason
            self._ended.append(before)
            piece = before
        self._made[item.key] = (changing, piece)
        return piece


def _changing(item: RecordedMessage | RecordedNotice) -> object:
    """The part of an item that may differ at another position; the rest follows from its key."""
    if isinstance(item, RecordedNotice):
        return item.notice
    return len(item.text), item.growing, item.pinned, item.stop_reason


def _said(item: RecordedMessage) -> ChatMessage:
    return ChatMessage(
        turn=item.turn,
        role=_ROLES.get(item.role, "assistant"),
        text=item.text if item.known else NOT_RECORDED,
        state="growing" if item.growing else _ENDS.get(item.stop_reason or "", "done"),
        stats=item.stats,
        stop_reason=item.stop_reason,
        pinned=item.pinned,
    )
