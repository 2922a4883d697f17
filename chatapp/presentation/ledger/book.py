"""The ledger's history: what came into the cache, what left it, when, why, and what that cost."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from chatapp.presentation import format
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Branched,
    Evicted,
    Failed,
    Opened,
    Pinned,
    Prefilled,
    Recalled,
    Released,
    RolledBack,
    Saved,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.text import visible

LIMIT = 4000
"""Entries kept; `LedgerBook.sums` count all that ever were."""

KINDS = (
    "open",
    "restore",
    "read",
    "reply",
    "evict",
    "shift",
    "rebuild",
    "back",
    "recall",
    "pin",
    "unpin",
    "branch",
    "release",
    "save",
    "warn",
)
"""What an entry may be, in the order of sums."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One change of the cache. None is a figure that the event does not have."""

    at_s: float
    kind: str
    turns: tuple[int, ...] = ()
    partly: int | None = None
    """The turn that lost only its oldest tokens."""
    tokens: int | None = None
    """Tokens that came; less than 0 those that left."""
    processed: int | None = None
    """Tokens that went through the model."""
    reused: int | None = None
    """Tokens that were in the cache, and were not processed again."""
    ms: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sum:
    """All entries of one kind; None where no entry had the figure."""

    times: int = 0
    tokens: int | None = None
    processed: int | None = None
    ms: float | None = None

    def plus(self, entry: Entry) -> "Sum":
        """With one more."""
        return Sum(
            self.times + 1,
            _plus(self.tokens, entry.tokens),
            _plus(self.processed, entry.processed),
            self.ms if entry.ms is None else entry.ms + (self.ms or 0),
        )


class LedgerBook:
    """One entry, or two, for each event that changed the cache; the last `LIMIT` entries.

    No time is entered twice: what an eviction costs stands beside the shift or the rebuild that it is.
    """

    def __init__(self) -> None:
        self.entries: deque[Entry] = deque(maxlen=LIMIT)
        self.sums: dict[str, Sum] = {}
        self.written = 0
        """Entries ever written; a reader that knows how many it has read knows what is new."""
        self._prefilled: Prefilled | None = None
        """The newest piece of what is being processed; another event tells what that was for."""
        self._reading: int | None = None
        """The turn whose prompt is being read."""
        self._began_s: dict[int, float] = {}

    def apply(self, event: AnyEvent) -> bool:
        """Enter what an event changed; True when something was entered."""
        before = self.written
        match event:
            case Prefilled():
                self._piece(event)
            case TurnStarted():
                self._processed()
                self._reading = event.turn
                self._began_s = {event.turn: event.at_s} if event.turn is not None else {}
            case Evicted():
                self._evicted(event)
            case Opened():
                self._prefilled = None
                self._opened(event)
            case TurnDone():
                self._processed()
                self._done(event)
            case RolledBack():
                self._rolled_back(event)
            case Pinned():
                self._pinned(event)
            case Recalled():
                self._recalled(event)
            case Branched():
                why = f"{format.plural(event.live_branches, 'branch', 'branches')} hold what they share once"
                self._enter(event.at_s, "branch", reused=event.shared_tokens, why=why)
            case Released():
                self._enter(
                    event.at_s, "release", tokens=-event.tokens, why=f"a branch that is not in use; {event.why}"
                )
            case Saved():
                why = f"{format.plural(event.tokens, 'token')} to disk, {format.size(event.size_bytes)}"
                self._enter(event.at_s, "save", ms=event.ms, why=why)
            case Warned():
                self._enter(event.at_s, "warn", why=event.text)
            case Failed():
                self._processed()
            case _:
                return False
        return self.written > before

    def since(self, read: int) -> list[Entry]:
        """The entries written after the first `read` ever written, as far as they are still kept."""
        new = min(self.written - read, len(self.entries))
        return list(self.entries)[len(self.entries) - new :] if new > 0 else []

    # ----------------------------------------------------------------------- what a prefill was for

    def _piece(self, event: Prefilled) -> None:
        """Keep the newest piece. A prompt is entered when its last one has come; anything else when it is known what
        it was: a rebuild's pieces are told before the roll-back that needed it.
        """
        last = self._prefilled
        if last is not None and (event.total != last.total or event.done < last.done):
            self._processed()
        self._prefilled = event
        if event.done >= event.total and self._is_prompt(event):
            self._processed()

    def _is_prompt(self, event: Prefilled) -> bool:
        return event.turn is not None and event.turn == self._reading

    def _processed(self) -> None:
        """Enter what was processed and no event has told the reason of: a prompt, or what a stop had left undone."""
        event, self._prefilled = self._prefilled, None
        if event is None:
            return
        why = "" if event.done >= event.total else f"stopped at {event.done:,} of {event.total:,}"
        prompt = self._is_prompt(event)
        if prompt:
            self._reading = None
        elif not why:
            why = "what a stop had left undone"
        turns = () if event.turn is None else (event.turn,)
        self._enter(
            event.at_s, "read" if prompt else "rebuild", turns=turns, tokens=event.done if prompt else None,
            processed=event.done, ms=event.ms, why=why,
        )  # fmt: skip

    # ----------------------------------------------------------------------- entries

    def _evicted(self, event: Evicted) -> None:
        again, moved = event.reprocessed_tokens, event.renumbered
        why = event.why if again or moved else f"positions kept; {event.why}"
        self._enter(
            event.at_s, "evict", turns=event.turns, partly=event.partial_turn, tokens=-event.tokens,
            ms=None if again else event.ms, why=why,
        )  # fmt: skip
        if again:
            self._enter(event.at_s, "rebuild", processed=again, ms=event.ms, why="what stays was processed again")
        elif moved:
            why = "keys rotated by the next decode, which took this"
            self._enter(event.at_s, "shift", ms=event.next_decode_ms, why=why)

    def _opened(self, event: Opened) -> None:
        turns = f"{format.plural(event.in_window_turns, 'turn')} in the window, {event.evicted_turns:,} not"
        self._enter(
            event.at_s, "restore" if event.restored_tokens else "open",
            tokens=event.processed_tokens + event.restored_tokens, processed=event.processed_tokens,
            reused=event.reused_tokens or None, ms=event.ms, why=f"{turns}; {event.why}" if event.why else turns,
        )  # fmt: skip

    def _done(self, event: TurnDone) -> None:
        began = self._began_s.pop(event.turn, None) if event.turn is not None else None
        stats = event.stats
        self._enter(
            event.at_s, "reply", turns=() if event.turn is None else (event.turn,), tokens=stats.reply_tokens,
            reused=stats.reused_tokens, ms=(event.at_s - began) * 1000 if began is not None else None,
            why="" if event.stop_reason == "end" else event.stop_reason,
        )  # fmt: skip

    def _rolled_back(self, event: RolledBack) -> None:
        made_again = event.rebuilt or event.from_checkpoint
        if made_again and self._prefilled is not None and not self._is_prompt(self._prefilled):
            self._prefilled = None  # this is what it was for
        self._processed()
        why = f"from a checkpoint; {event.why}" if event.from_checkpoint else event.why
        self._enter(
            event.at_s, "back", turns=() if event.turn is None else (event.turn,), tokens=-event.tokens,
            processed=event.processed_tokens if event.from_checkpoint else None,
            ms=None if event.rebuilt else event.ms, why=why,
        )  # fmt: skip
        if event.rebuilt:
            self._enter(
                event.at_s, "rebuild", processed=event.processed_tokens, ms=event.ms,
                why="the cache could not be cut there",
            )  # fmt: skip

    def _recalled(self, event: Recalled) -> None:
        """The markup that closes the newest reply went in with the turns: their prefill counts it."""
        prefilled, self._prefilled = self._prefilled, None
        processed = event.tokens if prefilled is None else prefilled.done
        self._enter(
            event.at_s, "recall", turns=event.turns, tokens=event.tokens, processed=processed, ms=event.ms,
            why="behind the newest turn",
        )  # fmt: skip

    def _pinned(self, event: Pinned) -> None:
        note = f"{format.plural(event.tokens, 'token')}; {event.kept_tokens:,} never leave"
        self._enter(
            event.at_s, "pin" if event.pinned else "unpin", turns=() if event.turn is None else (event.turn,),
            why=f"{event.why}; {note}" if event.why else note,
        )  # fmt: skip

    def _enter(
        self,
        at_s: float,
        kind: str,
        *,
        turns: Sequence[int] = (),
        partly: int | None = None,
        tokens: int | None = None,
        processed: int | None = None,
        reused: int | None = None,
        ms: float | None = None,
        why: str = "",
    ) -> None:
        entry = Entry(
            at_s, kind, tuple(turns), partly, tokens, processed, reused, ms, " ".join(visible(why).split())
        )  # fmt: skip
        self.entries.append(entry)
        self.sums[kind] = self.sums.get(kind, Sum()).plus(entry)
        self.written += 1


def _plus(a: int | None, b: int | None) -> int | None:
    return a if b is None else b + (a or 0)
