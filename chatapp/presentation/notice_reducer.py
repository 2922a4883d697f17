"""Reduces the engine's commands and events to the notices that a person reads.

Pure, and the only such reducer: the chat, the replay and the page of a trace feed it the same commands and events in
the same order, so that a recorded chat and its replay show the same notices.
"""

from msgspec import structs

from chatapp.presentation import notices
from chatapp.presentation.notices import Notice
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import Cancel, Command, Open, Pin, Recall, Regenerate, Send, Undo
from chatapp.protocol.events import (
    Calibrating,
    Evicted,
    Failed,
    Loaded,
    Opened,
    Pinned,
    Recalled,
    RecallForeseen,
    Released,
    RolledBack,
    Started,
    TurnDone,
    Warned,
)


class NoticeReducer:
    """Give it every command with `post` and every event with `take`.

    It remembers only what the wording depends on: a failure that somebody asked for is not an error, and a mere cut on
    the way to another branch is not worth a notice.
    """

    def __init__(self) -> None:
        self._evicted: list[Evicted] = []
        """Evictions that are reported in one line: those of one task, with no other notice between them."""
        self._groups = 0
        self._working = False
        """A reply or a recall is in progress."""
        self._opening = 0
        """Conversations that the engine was told to open and has not answered yet."""
        self._cancelled = False
        self._measuring = False

    def post(self, command: Command) -> None:
        """The engine is given a command."""
        match command:
            case Send() | Regenerate() | Recall():
                self._working = True
                self._close_group()
            case Open():
                self._opening += 1
                self._close_group()
            case Pin() | Undo():
                self._close_group()
            case Cancel():
                self._cancelled = self._working or self._opening > 0
            case _:
                pass

    def take(self, event: AnyEvent) -> list[Notice]:
        """The notices for an event; none for most."""
        if isinstance(event, Evicted):
            _gather(self._evicted, event)
            return [Notice("warning", notices.evicted(self._evicted), f"evicted {self._groups}")]
        told = self._told(event)
        if told or isinstance(event, TurnDone | Opened | Recalled | Pinned | Failed | Started):
            self._close_group()
        self._follow(event)
        return told

    def end(self, why: str) -> Notice:
        """The engine has ended by itself, for this reason."""
        self._forget_engine()
        return Notice("error", why)

    def _told(self, event: AnyEvent) -> list[Notice]:
        match event:
            case Loaded():
                told = [Notice("warning", warning) for warning in event.warnings]
                if self._measuring and event.sinks is not None:
                    told.append(Notice("info", notices.sinks(event.sinks)))
                return told
            case Opened():
                line = notices.opened(event)
                return [] if line is None else [Notice("info", line)]
            case RolledBack():
                free = self._opening and not event.rebuilt and not event.from_checkpoint
                return [] if free else [Notice("info", notices.rolled_back(event))]
            case Pinned():
                return [Notice("warning" if event.why else "info", notices.pinned(event))]
            case Recalled():
                return [Notice("info", notices.recalled(event))]
            case Released():
                return [Notice("info", notices.released(event))]
            case Warned():
                return [Notice("warning", event.text)]
            case Failed():
                asked_for = self._cancelled and event.kind == "user"
                return [Notice("info" if asked_for else "error", f"{event.what} {event.todo}".strip())]
            case _:
                return []

    def _follow(self, event: AnyEvent) -> None:
        match event:
            case Started():
                self._forget_engine()
            case Calibrating():
                self._measuring = True
            case Loaded():
                self._measuring = False
            case Opened():
                self._opening = max(0, self._opening - 1)
            case TurnDone() | Recalled() | RecallForeseen():
                self._working = False
            case Failed():
                self._measuring = False
                if self._opening:
                    self._opening -= 1
                else:
                    self._working = False
            case _:
                return
        self._cancelled = self._cancelled and (self._working or self._opening > 0)

    def _forget_engine(self) -> None:
        """Another engine has none of the commands that this one was given."""
        self._close_group()
        self._working = self._cancelled = self._measuring = False
        self._opening = 0

    def _close_group(self) -> None:
        if self._evicted:
            self._evicted = []
            self._groups += 1


def _gather(events: list[Evicted], event: Evicted) -> None:
    """Add an eviction to its group, merged into the last one if possible: there may be thousands."""
    last = events[-1] if events else None
    if last is None or (event.partial_turn is not None and last.partial_turn not in (None, event.partial_turn)):
        events.append(event)
        return
    part = last.partial_turn if event.partial_turn is None else event.partial_turn
    turns = [*last.turns, *(turn for turn in event.turns if turn not in last.turns)]
    events[-1] = structs.replace(last, tokens=last.tokens + event.tokens, turns=turns, partial_turn=part)
