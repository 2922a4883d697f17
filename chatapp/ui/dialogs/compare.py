"""Two policies or windows compared on the same text, measured in a dialog over the chat."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from textual import on, work
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Static

from chatapp.errors import SwachatError
from chatapp.ui.base_app import BaseApp

if TYPE_CHECKING:
    from chatapp.compare.measurement import SideMeasurement
    from chatapp.compare.side import ComparedCache
    from chatapp.protocol.values import EngineSettings

PLOT_ROWS = 12
STYLES = {"A": "bold $text-primary", "B": "bold $text-warning", "*": "bold"}


@dataclass(frozen=True)
class Pair:
    """What is to be compared: one text, on one model, in two caches."""

    path: Path
    text: str
    sides: "tuple[ComparedCache, ComparedCache]"


class Comparison(ModalScreen[None]):
    """Measures both sides, one after the other, each in its own engine. Escape stops and closes."""

    app: BaseApp  # pyright: ignore[reportIncompatibleMethodOverride] - a property there; only its type is narrowed
    BINDINGS = [Binding("escape,q", "leave", "Close", show=False)]
    DEFAULT_CSS = """
    Comparison { align: center middle; background: $background 70%; }
    Comparison #progress-of-both { height: auto; color: $text-muted; }
    Comparison VerticalScroll {
        height: 1fr; scrollbar-size-vertical: 1; scrollbar-color: $panel; scrollbar-background: $surface;
    }
    Comparison VerticalScroll Static { height: auto; width: 1fr; margin-bottom: 1; }
    Comparison VerticalScroll #curves { margin-bottom: 0; }
    """

    class Stepped(Message):
        """A side has made progress."""

    class Ended(Message):
        """Both sides are measured, or one could not be: see `error`."""

        def __init__(self, error: SwachatError | None) -> None:
            super().__init__()
            self.error = error

    def __init__(self, pair: Pair) -> None:
        super().__init__()
        self._pair = pair
        self._measurements: list[SideMeasurement] = []

    def compose(self) -> ComposeResult:
        a, b = self._pair.sides
        with Vertical(classes="dialog large"):
            yield Static(Content(f"A {a} vs. B {b}"), classes="title")
            yield Static(id="progress-of-both")
            with VerticalScroll():
                yield Static(id="findings")
                yield Static(id="figures")
                yield Static(id="curves")
            yield Static(Content("Up/Down scroll · Esc stops and closes"), classes="hint")

    def on_mount(self) -> None:
        """Start; arrow keys scroll at once."""
        from chatapp.compare.measurement import SideMeasurement

        self._measurements = [SideMeasurement(), SideMeasurement()]
        self.query_one(VerticalScroll).focus()
        self._show()
        self._measure()

    def on_resize(self) -> None:
        """Draw the plot in the new width."""
        self.call_after_refresh(self._show)

    def action_leave(self) -> None:
        """Stop; the running engine ends with its worker."""
        self.dismiss(None)

    @work(group="compare", exclusive=True)
    async def _measure(self) -> None:
        """One after the other: the first engine has ended and freed its memory before the second starts."""
        from chatapp.compare.measurement import measure
        from chatapp.config import cache_settings, engine_settings
        from chatapp.protocol.commands import Measure

        config, services = self.app.config, self.app.services
        request = Measure(text=self._pair.text, max_tokens=None)
        settings: EngineSettings = engine_settings(config)
        try:
            for index, side in enumerate(self._pair.sides):

                def tell(measurement: "SideMeasurement", index: int = index) -> None:
                    self._measurements[index] = measurement
                    self.post_message(self.Stepped())

                cache = side.request(cache_settings(config))
                await measure(services.engine(), self._pair.path, cache, settings, request, tell)
        except SwachatError as error:
            self.post_message(self.Ended(error))
        else:
            self.post_message(self.Ended(None))

    @on(Stepped)
    def _stepped(self) -> None:
        self._show()

    @on(Ended)
    def _ended(self, event: Ended) -> None:
        self._show()
        if event.error is not None:
            self.query_one("#progress-of-both", Static).update(Content(str(event.error)))

    def _show(self) -> None:
        from chatapp.compare.findings import sentences

        self.query_one("#progress-of-both", Static).update(Content(self._progress()))
        self.query_one("#figures", Static).update(self._figures())
        self.query_one("#curves", Static).update(self._curves())
        findings = self.query_one("#findings", Static)
        findings.update(Content("\n".join(sentences(*self._measurements))))
        findings.display = self._measurements[1].measured is not None

    def _progress(self) -> str:
        """Which side is being measured, and how far it is; B's length is known from A."""
        a, b = self._measurements
        if b.measured is not None:
            return "Both sides measured."
        if a.measured is None:
            return f"Measuring A: {a.tokens:,} tokens" if a.loaded is not None else "Loading the model for A"
        return f"Measuring B: {b.tokens:,} of {a.tokens:,} tokens"

    def _figures(self) -> Content:
        from chatapp.compare.findings import table

        a, b = self._pair.sides
        rows = [("", f"A  {a}", f"B  {b}", "B/A"), *table(*self._measurements)]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]
        return Content("\n".join(lines))

    def _curves(self) -> Content:
        """The perplexity of each part of the text, as a plot."""
        from chatapp.compare.plot import HEADING, plot

        a, b = self._measurements
        if not a.curve:
            return Content("")
        drawn = plot(a.curve, b.curve, max(20, self.query_one("#curves").size.width - 8), PLOT_ROWS)
        lines = [Content(HEADING)]
        for label, row in zip(drawn.labels, drawn.rows, strict=True):
            marks = [(mark, STYLES[mark]) if mark in STYLES else mark for mark in row]
            lines.append(Content.assemble((f"{label} ┤", "dim"), *marks))
        return Content("\n").join(lines)
