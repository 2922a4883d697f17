"""The ledger's history: what entered the cache, what was evicted, when, why, and at what cost."""

import itertools
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
from chatapp.text import LONGEST_SENTENCE, one_line

LIMIT = 4000
"""Entries kept; `LedgerBook.sums` count all entries ever."""

KINDS = (
    "open",
    "restore",
    "prefill",
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
"""Kinds of entries, in the order of the sums."""


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One change of the cache. A figure that the event does not have is None."""

    at_s: float
    kind: str
    turns: tuple[int, ...] = ()
    partly: int | None = None
    """The turn of which only the oldest tokens were evicted."""
    tokens: int | None = None
    """Tokens that were added; negative if they were removed."""
    processed: int | None = None
    """Tokens that the model processed."""
    reused: int | None = None
    """Tokens that were already cached, and were not processed again."""
    ms: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class Sum:
    """All entries of one kind; a figure that no entry had is None."""

    times: int = 0
    tokens: int | None = None
    processed: int | None = None
    ms: float | None = None

    def plus(self, entry: LedgerEntry) -> "Sum":
        """The sum with one more entry."""
        return Sum(
            self.times + 1,
            _plus(self.tokens, entry.tokens),
            _plus(self.processed, entry.processed),
            self.ms if entry.ms is None else entry.ms + (self.ms or 0),
        )


class LedgerBook:
    """One or two entries for each event that changed the cache; the last `LIMIT` entries.

    No time is entered twice: the cost of an eviction is in the entry of its shift or rebuild, and the entry of what
    contained other entries (a prefill, a reply, an opening, a recall) has the rest of its time.
    """

    def __init__(self) -> None:
        self.entries: deque[LedgerEntry] = deque(maxlen=LIMIT)
        self.sums: dict[str, Sum] = {}
        self.written = 0
        """Entries ever written; a reader that knows how many it has read can tell what is new."""
        self._prefilled: Prefilled | None = None
        """The newest piece of a prefill; another event says what it was for."""
        self._reading: int | None = None
        """The turn whose prompt is in prefill."""
        self._began_s: dict[int, float] = {}

    def apply(self, event: AnyEvent) -> bool:
        """Enter what an event changed; True if something was entered."""
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
                why = f"{format.plural(event.live_branches, 'branch', 'branches')}; shared cells are held once"
                self._enter(event.at_s, "branch", reused=event.shared_tokens, why=why)
            case Released():
                self._enter(event.at_s, "release", tokens=-event.tokens, why=f"an inactive branch; {event.why}")
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

    def since(self, read: int) -> list[LedgerEntry]:
        """The entries after the first `read` ever written, as far as they are still kept."""
        new = min(self.written - read, len(self.entries))
        return list(self.entries)[len(self.entries) - new :] if new > 0 else []

    # ----------------------------------------------------------------------- what a prefill was for

    def _piece(self, event: Prefilled) -> None:
        """Keep the newest piece. A prompt is entered with its last piece; anything else once its purpose is known: the
        pieces of a rebuild come before the roll-back that needed it.
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
        """Enter a prefill that no event has explained: a prompt, or the rest of an interrupted one."""
        event, self._prefilled = self._prefilled, None
        if event is None:
            return
        why = "" if event.done >= event.total else f"stopped at {event.done:,} of {event.total:,}"
        prompt = self._is_prompt(event)
        if prompt:
            self._reading = None
        elif not why:
            why = "the rest of an interrupted prefill"
        turns = () if event.turn is None else (event.turn,)
        self._enter(
            event.at_s, "prefill" if prompt else "rebuild", turns=turns, tokens=event.done if prompt else None,
            processed=event.done, ms=self._rest_ms(event.at_s, event.ms), why=why,
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
            self._enter(event.at_s, "rebuild", processed=again, ms=event.ms, why="the kept tokens were processed again")
        elif moved:
            why = "keys are rotated in the next decode; this is its time"
            self._enter(event.at_s, "shift", ms=event.next_decode_ms, why=why)

    def _opened(self, event: Opened) -> None:
        turns = f"{format.plural(event.in_window_turns, 'turn')} in the window, {event.evicted_turns:,} evicted"
        self._enter(
            event.at_s, "restore" if event.restored_tokens else "open",
            tokens=event.processed_tokens + event.restored_tokens, processed=event.processed_tokens,
            reused=event.reused_tokens or None, ms=self._rest_ms(event.at_s, event.ms),
            why=f"{turns}; {event.why}" if event.why else turns,
        )  # fmt: skip

    def _done(self, event: TurnDone) -> None:
        began = self._began_s.pop(event.turn, None) if event.turn is not None else None
        stats = event.stats
        self._enter(
            event.at_s, "reply", turns=() if event.turn is None else (event.turn,), tokens=stats.reply_tokens,
            reused=stats.reused_tokens,
            ms=self._rest_ms(event.at_s, (event.at_s - began) * 1000) if began is not None else None,
            why="" if event.stop_reason == "end" else event.stop_reason,
        )  # fmt: skip

    def _rolled_back(self, event: RolledBack) -> None:
        made_again = event.rebuilt or event.from_checkpoint
        if made_again and self._prefilled is not None and not self._is_prompt(self._prefilled):
            self._prefilled = None  # this event explains it
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
                why="the cache could not be rolled back there",
            )  # fmt: skip

    def _recalled(self, event: Recalled) -> None:
        """The markup that closes the newest reply was processed with the turns: their prefill counts it."""
        prefilled, self._prefilled = self._prefilled, None
        processed = event.tokens if prefilled is None else prefilled.done
        self._enter(
            event.at_s, "recall", turns=event.turns, tokens=event.tokens, processed=processed,
            ms=self._rest_ms(event.at_s, event.ms), why="after the newest turn",
        )  # fmt: skip

    def _pinned(self, event: Pinned) -> None:
        note = f"{format.plural(event.tokens, 'token')}; {event.kept_tokens:,} are never evicted"
        self._enter(
            event.at_s, "pin" if event.pinned else "unpin", turns=() if event.turn is None else (event.turn,),
            why=f"{event.why}; {note}" if event.why else note,
        )  # fmt: skip

    def _rest_ms(self, at_s: float, ms: float) -> float:
        """Of the `ms` before `at_s`, what no entry has yet."""
        began_s = at_s - ms / 1000
        inside = itertools.takewhile(lambda entry: entry.at_s > began_s, reversed(self.entries))
        return max(0.0, ms - sum(entry.ms or 0.0 for entry in inside))

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
        entry = LedgerEntry(
            at_s, kind, tuple(turns), partly, tokens, processed, reused, ms, one_line(why, LONGEST_SENTENCE)
        )  # fmt: skip
        self.entries.append(entry)
        self.sums[kind] = self.sums.get(kind, Sum()).plus(entry)
        self.written += 1


def _plus(a: int | None, b: int | None) -> int | None:
    return a if b is None else b + (a or 0)
