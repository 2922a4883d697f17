"""The gauge of the window: how full it is, how many sinks it keeps, and how much was evicted."""

from textual.content import Content
from textual.style import Style

from chatapp.presentation import format
from chatapp.presentation.cache_map.words import sink_sources
from chatapp.presentation.observed import Observed
from chatapp.protocol.events import Snapshot
from chatapp.text import one_line
from chatapp.ui.widgets.inspector.panel import Panel, labelled


class Gauge(Panel):
    """The window's use, the sinks and where they come from, what was evicted, the policy in force."""

    HELP = (
        "The window is the number of cells that llama.cpp allocated, and the bar shows the share that hold a token. "
        "Sinks are the first tokens of the conversation, which are never evicted; they are counted in the engine's"
        " ledger, which is compared with llama.cpp's own positions after every step. "
        "Evicted counts the turns that the model can no longer see and their tokens, and a shift renumbers the kept"
        " tokens."
    )

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """Bar, sinks, evicted, policy."""
        snapshot = observed.snapshot
        policy = observed.loaded.policy if observed.loaded is not None else format.DASH
        if snapshot is None:
            cells = f"{observed.loaded.n_ctx:,} cells" if observed.loaded is not None else format.DASH
            return [labelled("window", cells), labelled("policy", one_line(policy))]
        evicted = f"{format.plural(snapshot.evicted_turns, 'turn')} · {format.plural(snapshot.evicted_tokens, 'token')}"
        return [
            self._bar(snapshot, width),
            *self._sinks(snapshot),
            labelled("evicted", evicted),
            labelled("policy", f"{one_line(policy)} · {format.plural(snapshot.shifts, 'shift')}"),
        ]

    def summary(self, observed: Observed) -> str:
        """ "412/512 · 80%"."""
        snapshot = observed.snapshot
        if snapshot is None:
            return format.DASH
        return f"{snapshot.n_used:,}/{snapshot.n_ctx:,} · {format.share(snapshot.n_used, snapshot.n_ctx)}"

    def _sinks(self, snapshot: Snapshot) -> list[Content]:
        """A row for each message that sinks come from."""
        sources = sink_sources(snapshot)
        if not sources:
            return [labelled("sinks", "none")]
        rows = [f"{n:,} · {name}" for name, n in sources]
        return [labelled("sinks" if not index else "", row) for index, row in enumerate(rows)]

    def _bar(self, snapshot: Snapshot, width: int) -> Content:
        """Sinks first, then the rest of the used cells, over the whole window."""
        sinks = sum(n for _, n in sink_sources(snapshot))
        filled = format.fraction_bar(snapshot.n_used, snapshot.n_ctx, width)
        marked = min(len(filled), len(format.fraction_bar(sinks, snapshot.n_ctx, width)))
        rest = "░" * (width - len(filled))
        if self.colours.plain:
            return Content("S" * marked + filled[marked:] + rest)
        return Content.assemble(
            ("█" * marked, Style(foreground=self.colours.colour("sink"))),
            (filled[marked:], Style(foreground=self.colours.colour("turn-a"))),
            (rest, Style(foreground=self.colours.colour("free"))),
        )
