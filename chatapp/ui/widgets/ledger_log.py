"""The ledger log: one line for each change of the cache."""

from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.widgets import Log, Static

from chatapp.ui import format
from chatapp.ui.widgets.ledger_book import FULL_WIDTH, HEADING, LIMIT, SHORT_WIDTH
from chatapp.ui.widgets.observed import Observed
from chatapp.ui.widgets.paint import app_of


class LedgerLog(Vertical):
    """The last lines of the ledger's book; scrolls both ways, selectable, copied whole with `c`."""

    HELP = (
        "Each line is one change of the cache: `open`, `read` (a prompt went through the model), `reply`, `evict`,"
        " `back` (undo or regenerate), `pin`, `unpin`, `recal` (evicted turns came back), `fork` (a second branch is in"
        " the cache), `free` (it has left) or `warn`. "
        "`tok` counts the tokens that came or left, `took` is the engine's own clock, `reuse` the tokens that a turn"
        " found in the cache and did not process again; a turn with a star lost only its oldest tokens. "
        "For an eviction `took` is the bookkeeping alone: the keys are rotated inside the next decode, whose time"
        " stands at the end of the line."
    )
    DEFAULT_CSS = """
    LedgerLog {
        height: auto;
        #heading { text-style: dim; height: 1; text-wrap: nowrap; text-overflow: clip; }
        Log { height: 6; background: transparent; overflow-y: auto; overflow-x: auto; scrollbar-size: 0 0; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("c", "copy", "Copy the ledger log", show=False)]

    def __init__(self) -> None:
        super().__init__()
        self._observed: Observed | None = None
        self._read = 0

    def compose(self) -> ComposeResult:
        """The heading and the lines."""
        yield Static(HEADING, id="heading", markup=False)
        # A Log counts the empty line behind the last line feed as a line.
        yield Log(max_lines=LIMIT + 1)

    def on_resize(self, event: events.Resize) -> None:
        """Show the last column whole or not at all: a number that is cut reads as a smaller one."""
        width = SHORT_WIDTH if event.size.width < FULL_WIDTH else event.size.width
        self.query_one(Log).styles.max_width = width
        self.query_one("#heading").styles.max_width = width

    def look(self, observed: Observed) -> None:
        """Add the lines that are new; a person who has scrolled up stays there."""
        self._observed = observed
        lines = observed.book.since(self._read)
        self._read = observed.book.written
        if lines:
            log = self.query_one(Log)
            follow = log.is_vertical_scroll_end
            log.write("".join(f"{line}\n" for line in lines), scroll_end=False)
            if follow:
                # Not at once: the first lines come before the log has a size.
                log.scroll_end(animate=False, x_axis=False)

    def summary(self, observed: Observed) -> str:
        """ "14 lines"."""
        return format.plural(len(observed.book.lines), "line")

    def action_copy(self) -> None:
        """All lines, to the clipboard."""
        if self._observed is not None:
            app_of(self).copy_to_clipboard(self._observed.book.text)
            self.notify(f"Copied {self.summary(self._observed)}.", markup=False)
