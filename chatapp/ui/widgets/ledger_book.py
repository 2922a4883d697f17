"""The ledger's history as lines of text: what came, what left, when, and what it cost."""

from collections import deque

from chatapp.engine.protocol import (
    AnyEvent,
    Branched,
    Evicted,
    Opened,
    Pinned,
    Prefilled,
    Recalled,
    Released,
    RolledBack,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.text import visible
from chatapp.ui import format

LIMIT = 1000
"""Lines kept."""

SHORT_WIDTH = 32
"""Columns up to and with `took`."""
FULL_WIDTH = 38
"""Columns up to and with `reuse`."""
HEADING = f"{'time':<8} {'what':<5} {'turn':<4} {'tok':>6} {'took':>5} {'reuse':>5}"


class LedgerBook:
    """One line for each change of the cache, the last `LIMIT` of them."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=LIMIT)
        self.written = 0
        """Lines ever written; a reader that knows how many it has read knows what is new."""
        self._prefilled: Prefilled | None = None
        self._began_s: dict[int, float] = {}

    def apply(self, event: AnyEvent) -> bool:
        """Write the line of an event, if it has one; True when a line was written.

        A prompt is reported piece by piece; only its last piece becomes a line, as soon as something else happens.
        """
        before = self.written
        match event:
            case Prefilled():
                self._prefilled = event
                if event.done >= event.total:
                    self._write_prefilled()
            case TurnStarted():
                self._began_s = {event.turn: event.at_s} if event.turn is not None else {}
            case Evicted():
                self._write_evicted(event)
            case Opened():
                self._write_prefilled()
                turns = f"{format.plural(event.in_window_turns, 'turn')} in the window, {event.evicted_turns:,} not"
                note = f"{turns}; {event.why}" if event.why else turns
                reused = event.reused_tokens + event.restored_tokens or None
                self._write(event.at_s, "open", "", event.processed_tokens, event.ms / 1000, reused, note)
            case TurnDone():
                self._write_prefilled()
                self._write_done(event)
            case RolledBack():
                self._write_prefilled()
                how = f"rebuilt from {event.processed_tokens:,} tokens; " if event.rebuilt else ""
                how = "from a checkpoint; " if event.from_checkpoint else how
                note = f"{how}{event.why}"
                self._write(event.at_s, "back", _turn(event.turn), -event.tokens, event.ms / 1000, None, note)
            case Pinned():
                self._write_pinned(event)
            case Recalled():
                self._prefilled = None
                turns = format.turns(event.turns).replace(", ", ",")
                self._write(event.at_s, "recal", turns, event.tokens, event.ms / 1000, None, "behind the newest turn")
            case Branched():
                note = f"{format.count(event.live_branches)} branches share {event.shared_tokens:,} tokens"
                self._write(event.at_s, "fork", "", None, None, event.shared_tokens, note)
            case Released():
                note = f"a branch that is not in use; {event.why}"
                self._write(event.at_s, "free", "", -event.tokens, None, None, note)
            case Warned():
                self._line(f"{format.clock(event.at_s)} warn  {event.text}")
            case _:
                return False
        return self.written > before

    def since(self, read: int) -> list[str]:
        """The lines written after the first `read` ever written, as far as they are still kept."""
        new = min(self.written - read, len(self.lines))
        return list(self.lines)[len(self.lines) - new :] if new > 0 else []

    @property
    def text(self) -> str:
        """Everything, with the heading, as text to copy."""
        return "\n".join((HEADING, *self.lines))

    def _write_prefilled(self) -> None:
        event, self._prefilled = self._prefilled, None
        if event is None:
            return
        note = "" if event.done >= event.total else f"stopped at {event.done:,} of {event.total:,}"
        self._write(event.at_s, "read", _turn(event.turn), event.done, event.ms / 1000, None, note)

    def _write_evicted(self, event: Evicted) -> None:
        gone = format.turns(event.turns).replace(", ", ",")
        if event.partial_turn is not None:
            gone = f"{gone},{event.partial_turn}*" if gone else f"{event.partial_turn}*"
        moved = "renumbered" if event.renumbered else "positions kept"
        note = f"{moved}; next decode {format.duration(event.next_decode_ms / 1000)}; {event.why}"
        self._write(event.at_s, "evict", gone, -event.tokens, event.ms / 1000, None, note)

    def _write_pinned(self, event: Pinned) -> None:
        note = f"{event.tokens:,} tokens; {event.kept_tokens:,} never leave"
        what = "pin" if event.pinned else "unpin"
        self._write(
            event.at_s, what, _turn(event.turn), None, None, None, f"{event.why}; {note}" if event.why else note
        )

    def _write_done(self, event: TurnDone) -> None:
        began = self._began_s.pop(event.turn, None) if event.turn is not None else None
        took = event.at_s - began if began is not None else None
        note = "" if event.stop_reason == "end" else event.stop_reason
        stats = event.stats
        self._write(event.at_s, "reply", _turn(event.turn), stats.reply_tokens, took, stats.reused_tokens, note)

    def _write(
        self, at_s: float, what: str, turn: str, tokens: int | None, took_s: float | None, reused: int | None, note: str
    ) -> None:
        kept = "" if reused is None else str(reused)
        count = "" if tokens is None else f"{tokens:+}"
        line = f"{format.clock(at_s)} {what:<5} {turn:<4} {count:>6} {format.short_duration(took_s):>5} {kept:>5}"
        self._line(f"{line}  {note}" if note else line)

    def _line(self, line: str) -> None:
        self.lines.append(" ".join(visible(line).splitlines()).rstrip())
        self.written += 1


def _turn(turn: int | None) -> str:
    return "" if turn is None else str(turn)
