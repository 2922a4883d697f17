"""The transcript at a position of a trace: its messages, and notices of what the cache did. Pure.

Entries are folded one after the other, except for the text of replies, which the index holds in one piece. A trace of
an older version has no commands: the person's messages are not in it, and `RecordedMessage.known` is False.
"""

from dataclasses import dataclass

from chatapp.presentation.notice_reducer import NoticeReducer
from chatapp.presentation.notices import Notice
from chatapp.protocol.commands import Open, Regenerate, Send, Several, Undo
from chatapp.protocol.events import Failed, Pinned, Replied, TurnDone, TurnStarted
from chatapp.protocol.values import TurnStats
from chatapp.replay.index import Index
from chatapp.replay.lines import Ended, Posted, Trace

_TELLING = (
    *("Posted", "Ended", "Started", "Calibrating", "Loaded", "Opened", "TurnStarted", "TurnDone", "Replied", "Failed"),
    *("Evicted", "RolledBack", "Pinned", "Recalled", "Released", "Warned"),
)


@dataclass(eq=False)
class RecordedMessage:
    """One message. `key` identifies it at every position: the entry, and the number within it."""

    key: tuple[int, int]
    turn: int
    role: str
    text: str
    known: bool = True
    growing: bool = False
    pinned: bool = False
    stats: TurnStats | None = None
    stop_reason: str | None = None


@dataclass(eq=False)
class RecordedNotice:
    """A notice. `key` identifies it: the entry that it first came from, and the number within it."""

    key: tuple[int, int]
    notice: Notice


class TranscriptAt:
    """`items` is what the transcript shows at `position`."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._telling = index.of_kind(*_TELLING)
        self._notices = NoticeReducer()
        self.items: list[RecordedMessage | RecordedNotice] = []
        self.position = 0
        self._done = 0
        self._reply: RecordedMessage | None = None
        self._reply_from = 0
        self._prompts: list[str] = []
        self._dropped: RecordedMessage | None = None
        """The reply that is being regenerated, until the new one begins."""

    def go_to(self, position: int) -> None:
        """Go to this position: forward from the current one, or else again from the beginning. Raises UserError."""
        if position < self.position:
            self.items, self._reply, self._dropped, self._done, self._prompts = [], None, None, 0, []
            self._notices = NoticeReducer()
        telling = self._telling
        while self._done < len(telling) and telling[self._done] < position:
            self._apply(telling[self._done])
            self._done += 1
        self.position = position
        if self._reply is not None:
            self._reply.text = self._index.text(self._reply_from, position)
        elif (entry := self._stray_text(position)) is not None:
            self._begin_reply(entry, 0)
            self.go_to(position)

    # ----------------------------------------------------------------------- inside

    def _stray_text(self, position: int) -> int | None:
        """The entry with text of a reply whose beginning is not in the trace; None if there is none."""
        last = self._telling[self._done - 1] if self._done else -1
        return last + 1 if self._index.text(last + 1, position) else None

    def _apply(self, entry: int) -> None:
        line = self._index.entry(entry)
        match line:
            case Posted():
                self._notices.post(line.command)
                self._asked(entry, line)
                return
            case Ended():
                self._note(entry, 0, self._notices.end(line.why))
            case Trace():
                return
            case _:
                for number, notice in enumerate(self._notices.take(line)):
                    self._note(entry, number, notice)
        match line:
            case TurnStarted():
                self._dropped = None
                if self._reply is None:
                    self._drop(line.turn or 0)
                    self._say(RecordedMessage((entry, 0), line.turn or 0, "user", "", known=False))
                    self._begin_reply(entry, line.turn or 0)
            case TurnDone():
                self._end_reply(entry, line.stats, line.stop_reason)
            case Replied():
                if line.number < len(self._prompts):
                    self._say(RecordedMessage((entry, 0), line.number + 1, "user", self._prompts[line.number]))
                text = f"Not answered. {line.error}" if line.error else line.text
                self._say(RecordedMessage((entry, 1), line.number + 1, "assistant", text))
            case Failed() | Ended():
                if not self._put_back():
                    self._end_reply(entry, None, "error")
            case Pinned():
                for item in self.items:
                    if isinstance(item, RecordedMessage) and (item.turn, item.role) == (line.turn, "user"):
                        item.pinned = line.pinned
            case _:
                pass

    def _asked(self, entry: int, line: Posted) -> None:
        command = line.command
        match command:
            case Send():
                self._drop(command.turn)
                self._say(RecordedMessage((entry, 0), command.turn, "user", command.text))
                self._begin_reply(entry, command.turn)
            case Regenerate():
                self._end_reply(entry, None, None)
                self._dropped = self._reply_of(command.turn)
                if self._dropped is not None:
                    self.items.remove(self._dropped)
                self._begin_reply(entry, command.turn)
            case Undo():
                self._drop(command.turn)
            case Open():
                self._open(entry, command)
            case Several():
                self._prompts = command.prompts
            case _:
                pass

    def _open(self, entry: int, command: Open) -> None:
        """Another conversation, a branch of this one, or the same one for another engine: common messages stay."""
        self._end_reply(entry, None, "error")
        said = [item for item in self.items if isinstance(item, RecordedMessage)]
        shared = 0
        for item, message in zip(said, command.messages, strict=False):
            if (item.turn, item.role, item.text) != (message.turn, message.role, message.text):
                break
            shared += 1
        gone = set(said[shared:])
        self.items = [item for item in self.items if item not in gone] if shared or not said else []
        for number, message in enumerate(command.messages[shared:]):
            pinned = message.role == "user" and message.turn in command.pinned
            self._say(RecordedMessage((entry, number), message.turn, message.role, message.text, pinned=pinned))

    def _reply_of(self, turn: int) -> RecordedMessage | None:
        replies = (item for item in self.items if isinstance(item, RecordedMessage) and item.role == "assistant")
        return next((reply for reply in replies if reply.turn == turn), None)

    def _put_back(self) -> bool:
        """If no other reply could be generated, restore the one that was to be replaced."""
        dropped, self._dropped = self._dropped, None
        if dropped is None or self._reply is None:
            return False
        self.items[self.items.index(self._reply)] = dropped
        self._reply = None
        return True

    def _drop(self, turn: int) -> None:
        self._reply = None
        self.items = [item for item in self.items if isinstance(item, RecordedNotice) or item.turn < turn]

    def _say(self, spoken: RecordedMessage) -> None:
        self.items.append(spoken)

    def _begin_reply(self, entry: int, turn: int) -> None:
        self._reply = RecordedMessage((entry, 1), turn, "assistant", "", growing=True)
        self._reply_from = entry
        self._say(self._reply)

    def _end_reply(self, entry: int, stats: TurnStats | None, stop_reason: str | None) -> None:
        reply, self._reply = self._reply, None
        if reply is not None:
            reply.text = self._index.text(self._reply_from, entry)
            reply.growing, reply.stats, reply.stop_reason = False, stats, stop_reason

    def _note(self, entry: int, number: int, notice: Notice) -> None:
        """Add a notice before a growing reply, as it belongs to what came before its first word."""
        index = len(self.items) - (self._reply is not None)
        before = self.items[index - 1] if index else None
        if notice.key is not None and isinstance(before, RecordedNotice) and before.notice.key == notice.key:
            before.notice = notice
        else:
            self.items.insert(index, RecordedNotice((entry, number), notice))
