"""The inspector: what the model can still see of the conversation, and what that costs, live."""

import time
from collections.abc import Callable, Mapping

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer
from textual.widget import Widget

from chatapp.engine.protocol import AnyEvent
from chatapp.ui.widgets.cache_map import CacheMap
from chatapp.ui.widgets.cell_grid import TurnChosen
from chatapp.ui.widgets.gauge import Gauge
from chatapp.ui.widgets.ledger_log import LedgerLog
from chatapp.ui.widgets.memory import MemoryPanel
from chatapp.ui.widgets.mismatch import Mismatch
from chatapp.ui.widgets.observed import Observed
from chatapp.ui.widgets.paint import app_of
from chatapp.ui.widgets.section import Section
from chatapp.ui.widgets.speed import Speed

__all__ = ["PANELS", "Inspector", "TurnChosen"]

PANELS: Mapping[str, Callable[[], Widget]] = {
    "Cache": CacheMap,
    "Window": Gauge,
    "Speed": Speed,
    "Ledger": LedgerLog,
    "Memory": MemoryPanel,
}
"""What a section shows, by its name: each makes a widget that is a `Body` and has a `HELP` of three sentences.

Those that change most come first: on a screen of 36 lines all but the last are whole. A panel that is added here is
folded, zoomed, explained, remembered and pictured like the others.
"""


class Inspector(VerticalScroll):
    """Feed it every engine event with `show`; it draws at most `frames_per_second` times a second, and only if shown.

    Posts `TurnChosen(turn)` when a person picks a turn in the cache map.
    """

    HELP = (
        "What the model can still see of the conversation, and what that costs. "
        "Tab goes from section to section, Enter folds one, `?` explains it, arrow keys move over the cache map. "
        "Every figure comes from the engine's own reports, and what nobody measured is a dash."
    )
    DEFAULT_CSS = """
    Inspector {
        width: 1fr; height: 1fr; padding: 0 0 0 1; background: $surface;
        scrollbar-gutter: stable; scrollbar-size-vertical: 1; scrollbar-color: $panel; scrollbar-background: $surface;
    }
    """

    def __init__(self, *, frames_per_second: float = 20, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._interval_s = 1 / frames_per_second
        self._observed = Observed()
        self._dirty = False
        self._timer: Timer | None = None
        self._drawn_at = 0.0

    def compose(self) -> ComposeResult:
        """The red line where there is one, and a section for each panel."""
        yield Mismatch()
        for name, panel in PANELS.items():
            yield Section(name, panel())

    def on_mount(self) -> None:
        """Follow the theme: a new one may differ in its cell colours only, and then no style rule changes.

        Follow the layout, too, to catch up with what came while nobody looked. Textual 8.2.8 sends no Show to a widget
        that a scroll elsewhere laid out first: now and then that left the inspector empty for good.
        """
        app_of(self).theme_changed_signal.subscribe(self, self._repaint)
        self.screen.screen_layout_refresh_signal.subscribe(  # pyright: ignore[reportUnknownMemberType]  Screen[Unknown]
            self, self._laid_out, immediate=True
        )

    def show(self, event: AnyEvent) -> None:
        """Take an engine event. Of many snapshots between two drawings only the newest is drawn."""
        if self._observed.apply(event):
            self._dirty = True
            self._schedule()

    def on_section_toggled(self, event: Section.Toggled) -> None:
        """Bring a section up to date that was folded."""
        event.stop()
        self._draw()

    def _repaint(self, _theme: Theme) -> None:
        for widget in self.walk_children(Widget):
            widget.refresh()

    def _laid_out(self, _screen: Screen[object]) -> None:
        self._schedule()

    def _schedule(self) -> None:
        """One drawing, no sooner than the frame rate allows; none while hidden."""
        if self._dirty and self._timer is None and self.is_on_screen:
            wait_s = max(0.0, self._drawn_at + self._interval_s - time.monotonic())
            self._timer = self.set_timer(wait_s, self._draw) if wait_s else None
            if self._timer is None:
                self._draw()

    def _draw(self) -> None:
        self._timer = None
        if not self.is_on_screen:
            return
        self._dirty = False
        self._drawn_at = time.monotonic()
        self.query_one(Mismatch).show_snapshot(self._observed.snapshot)
        for section in self.query(Section):
            section.look(self._observed)
