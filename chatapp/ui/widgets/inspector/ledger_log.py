"""The ledger log: every change of the cache, when it happened, why, and what it cost."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Log, Static

from chatapp.presentation import format
from chatapp.presentation.ledger.book import KINDS, LIMIT, Entry
from chatapp.presentation.ledger.lines import (
    NARROW_WIDTH,
    WIDE_WIDTH,
    WRAPPED_WIDTH,
    as_text,
    heading,
    lines,
    sum_lines,
    whole_columns,
)
from chatapp.presentation.observed import Observed
from chatapp.ui.widgets.inspector.paint import app_of


class LedgerLog(Vertical):
    """The entries of the ledger's book, all or those of one kind; scrolls both ways, selectable, copied with `c`.

    Where there is room the reasons are whole, and above them stands the sum of every kind.
    """

    HELP = (
        "Each line is one change of the cache, such as `read` (a prompt went through the model), `evict` (turns left"
        " it), `shift` (the rest was renumbered), `back` (undo, another reply, a stop) or `rebuild` (what stays was"
        " processed again); `f` shows one kind alone, `c` copies what is shown. "
        "`tok` counts the tokens that came or left, `took` is the engine's own clock, `held` the tokens that a turn"
        " found in the cache and did not process again; a turn with a star lost only its oldest tokens. "
        "The keys of a shift are rotated inside the next decode, whose whole time stands there, and no time is counted"
        " in two lines."
    )
    DEFAULT_CSS = """
    LedgerLog {
        height: auto;
        #sums { height: auto; padding: 0 0 1 0; text-wrap: nowrap; text-overflow: clip; display: none; }
        #heading { text-style: dim; height: 1; text-wrap: nowrap; text-overflow: clip; }
        Log { height: 6; background: transparent; overflow-y: auto; overflow-x: auto; scrollbar-size: 0 0; }
    }
    LedgerLog.-wide #sums { display: block; }
    .-maximized LedgerLog { height: 1fr; }
    .-maximized LedgerLog Log { height: 1fr; }
    """
    SCOPED_CSS = False
    """The last two rules begin at the section around it."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("c", "copy", "Copy the ledger log", show=False),
    ]

    def __init__(self) -> None:
        super().__init__()
        self._observed = Observed()
        self._read = 0
        self._in_log = 0
        """Entries in the log, those that the book has given up since among them."""
        self._width = 0
        self._only = ""

    def compose(self) -> ComposeResult:
        """The sums, the heading and the lines."""
        yield Static(id="sums", markup=False)
        yield Static(heading(0), id="heading", markup=False)
        yield Log()

    @property
    def only(self) -> str:
        """The kind that is shown alone; empty where all are."""
        return self._only

    def show_only(self, kind: str) -> None:
        """Show one kind of entry alone, or with "" all of them."""
        if kind != self._only:
            self._only = kind
            self._write_anew()

    @property
    def entries(self) -> list[Entry]:
        """What is shown."""
        return [entry for entry in self._observed.book.entries if self._shows(entry)]

    def on_resize(self, event: events.Resize) -> None:
        """Lay the lines out for the new width."""
        before, self._width = self._width, event.size.width
        cut = whole_columns(self._width)
        self.query_one(Log).styles.max_width = cut
        self.query_one("#heading").styles.max_width = cut
        self.set_class(self._width >= WRAPPED_WIDTH, "-wide")
        if self._width >= WRAPPED_WIDTH or _form(before) != _form(self._width):
            self._write_anew()

    def look(self, observed: Observed) -> None:
        """Add the lines that are new; a person who has scrolled up stays there."""
        if observed is not self._observed:
            self._observed = observed
            self._write_anew()
            return
        new = observed.book.since(self._read)
        self._read = observed.book.written
        if new:
            self._write([entry for entry in new if self._shows(entry)])

    def summary(self, observed: Observed) -> str:
        """ "14 lines", "evict: 3 of 14"."""
        n = len(observed.book.entries)
        if not self._only:
            return format.plural(n, "line")
        return f"{self._only}: {sum(map(self._shows, observed.book.entries)):,} of {n:,}"

    def action_copy(self) -> None:
        """What is shown, to the clipboard."""
        entries = self.entries
        app_of(self).copy_to_clipboard(as_text(entries))
        self.notify(f"Copied {format.plural(len(entries), 'line')}.", markup=False)

    def show_next_kind(self) -> None:
        """The next of the kinds that there are alone, then all again."""
        found = {entry.kind for entry in self._observed.book.entries}
        there = ["", *(kind for kind in KINDS if kind in found)]
        at = there.index(self._only) if self._only in there else 0
        self.show_only(there[(at + 1) % len(there)])

    def _shows(self, entry: Entry) -> bool:
        return self._only in ("", entry.kind)

    def _write_anew(self) -> None:
        book = self._observed.book
        self._read = book.written
        self.query_one("#heading", Static).update(heading(self._width))
        log = self.query_one(Log)
        log.clear()
        self._in_log = 0
        self._write(self.entries)
        log.scroll_end(animate=False, x_axis=False)

    def _write(self, entries: list[Entry]) -> None:
        if self.has_class("-wide"):
            self.query_one("#sums", Static).update("\n".join(sum_lines(self._observed.book.sums, self._width)))
        log = self.query_one(Log)
        follow = log.is_vertical_scroll_end
        self._in_log += len(entries)
        if self._in_log > 2 * LIMIT:
            log.clear()
            entries = self.entries
            self._in_log = len(entries)
        log.write("".join(f"{line}\n" for entry in entries for line in lines(entry, self._width)), scroll_end=False)
        if follow:
            # Not at once: the first lines come before the log has a size.
            log.scroll_end(animate=False, x_axis=False)


def _form(width: int) -> int:
    """Which of four forms the lines have at a width."""
    return sum(width >= least for least in (NARROW_WIDTH, WRAPPED_WIDTH, WIDE_WIDTH))
