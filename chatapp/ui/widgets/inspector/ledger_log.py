"""The ledger log: every change of the cache, when it happened, why, and at what cost."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Log, Static

from chatapp.presentation import format
from chatapp.presentation.ledger.book import KINDS, LIMIT, LedgerEntry
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
    """The entries of the ledger's book, all or of one kind; scrolls both ways, can be selected, copied with `c`.

    If it is wide enough the reasons are whole, with the sum of every kind above them.
    """

    HELP = (
        "Each line is one change of the cache, such as `prefill` (a prompt was processed), `evict` (turns were"
        " removed), `shift` (the rest was renumbered), `back` (rolled back: undo, another reply, a stop) or `rebuild`"
        " (the kept tokens were processed again); `f` shows one kind at a time, `c` copies what is shown. "
        "`tok` counts the tokens added or removed, `took` is time by the engine's clock, `cache` the tokens that a turn"
        " found cached and did not process again; a star marks a turn of which only the oldest tokens were evicted. "
        "A shift rotates the keys inside the next decode, and its line has that decode's whole time; `prefill`,"
        " `reply`, `open` and `recall` have the rest of theirs, so that no time is counted in two lines."
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
        """Entries in the log, including those that the book has dropped since."""
        self._width = 0
        self._only = ""

    def compose(self) -> ComposeResult:
        """The sums, the heading and the lines."""
        yield Static(id="sums", markup=False)
        yield Static(heading(0), id="heading", markup=False)
        yield Log()

    @property
    def only(self) -> str:
        """The one kind that is shown; empty if all are."""
        return self._only

    def show_only(self, kind: str) -> None:
        """Show only one kind of entry, or all of them with ""."""
        if kind != self._only:
            self._only = kind
            self._write_anew()

    @property
    def entries(self) -> list[LedgerEntry]:
        """The entries that are shown."""
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
        """Add the new lines; if a person has scrolled up, stay there."""
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
        """Copy what is shown to the clipboard."""
        entries = self.entries
        app_of(self).copy_to_clipboard(as_text(entries))

    def show_next_kind(self) -> None:
        """Show only the next of the kinds that occur, then all again."""
        found = {entry.kind for entry in self._observed.book.entries}
        there = ["", *(kind for kind in KINDS if kind in found)]
        at = there.index(self._only) if self._only in there else 0
        self.show_only(there[(at + 1) % len(there)])

    def _shows(self, entry: LedgerEntry) -> bool:
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

    def _write(self, entries: list[LedgerEntry]) -> None:
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
            # Not at once: the first lines are written before the log has a size.
            log.scroll_end(animate=False, x_axis=False)


def _form(width: int) -> int:
    """Which of four forms the lines have at a width."""
    return sum(width >= least for least in (NARROW_WIDTH, WRAPPED_WIDTH, WIDE_WIDTH))
