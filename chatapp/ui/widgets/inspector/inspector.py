"""The inspector: what the model can still see of the conversation, and at what cost, live."""

import time
from collections.abc import Callable, Iterable, Mapping

from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import Screen
from textual.theme import Theme
from textual.timer import Timer
from textual.widget import Widget

from chatapp.errors import UserError
from chatapp.presentation.format import nearest
from chatapp.presentation.host_reading import HostReading
from chatapp.presentation.memory_pressure import Pressure
from chatapp.presentation.observed import Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Started, TurnDone, TurnStarted
from chatapp.ui.action_table import bindings
from chatapp.ui.frame_pace import FramePace, decodes_here
from chatapp.ui.layout import Layout, PanelView
from chatapp.ui.widgets.inspector.cache_map import CacheMap
from chatapp.ui.widgets.inspector.cell_grid import TurnChosen
from chatapp.ui.widgets.inspector.experts import ExpertsPanel
from chatapp.ui.widgets.inspector.forecast import ForecastPanel
from chatapp.ui.widgets.inspector.gauge import Gauge
from chatapp.ui.widgets.inspector.ledger_log import LedgerLog
from chatapp.ui.widgets.inspector.memory import MemoryPanel
from chatapp.ui.widgets.inspector.mismatch import Mismatch
from chatapp.ui.widgets.inspector.paint import app_of
from chatapp.ui.widgets.inspector.reach import ReachPanel
from chatapp.ui.widgets.inspector.section import Section, ViewChanged, Viewed
from chatapp.ui.widgets.inspector.sinks import SinksPanel
from chatapp.ui.widgets.inspector.snapshot_line import displayed
from chatapp.ui.widgets.inspector.speed import SpeedPanel

__all__ = ["PANELS", "Inspector", "TurnChosen"]

PANELS: Mapping[str, Callable[[], Widget]] = {
    "Cache": CacheMap,
    "Window": Gauge,
    "Forecast": ForecastPanel,
    "Sinks": SinksPanel,
    "Speed": SpeedPanel,
    "Ledger": LedgerLog,
    "Memory": MemoryPanel,
    "Experts": ExpertsPanel,
    "Reach": ReachPanel,
}
"""The panels by name: each makes a widget that is a `Body` and has a `HELP` of three sentences.

Those that change most come first: on a screen of 36 lines all but the last are whole. A panel added here can be folded,
zoomed and explained, and its state is remembered, like the others.
"""
FOLDED_AT_FIRST = frozenset({"Reach"})
"""It is long, and about the model rather than the moment."""


class Inspector(VerticalScroll):
    """Feed it every engine event with `show`; it draws at most `frames_per_second` times a second, and only if shown.

    During a reply it draws less often if a drawing is expensive and the model decodes on this machine: see `FramePace`.

    Posts `TurnChosen(turn)` when a person picks a turn in the cache map, and `Arranged` when sections were folded or a
    view was changed. Its actions, those of the registry whose place is the inspector, apply to the `current` section.
    """

    BINDINGS = bindings("inspector")
    HELP = (
        "What the model can still see of the conversation, and at what cost. "
        "Tab moves between parts; after F9, `j` and `k` move between panels, Enter folds a panel, `z` zooms it to the"
        " whole screen, `?` explains it, and Esc returns to the prompt. "
        "Every figure comes from the engine's own reports, and a dash is a figure that was not measured."
    )
    DEFAULT_CSS = """
    Inspector {
        width: 1fr; height: 1fr; padding: 0 0 0 1; background: $surface;
        scrollbar-gutter: stable; scrollbar-size-vertical: 1; scrollbar-color: $panel; scrollbar-background: $surface;
    }
    """

    class Arranged(Message):
        """A person has folded or unfolded a section, or changed its view."""

    def __init__(
        self,
        *,
        frames_per_second: float = 20,
        layout: Layout | None = None,
        id: str | None = None,
        classes: str | None = None,
    ) -> None:
        """`layout` says which sections are folded, and which view each has."""
        super().__init__(id=id, classes=classes)
        self._pace = FramePace(1 / frames_per_second)
        self._replying = False
        self._first_layout = layout or Layout()
        self.sections = [Section(name, panel()) for name, panel in PANELS.items()]
        """From top to bottom."""
        self._observed = Observed()
        self._stale: set[Section] = set()
        """Sections that are not up to date."""
        self._timer: Timer | None = None
        self._spent_s = 0.0
        """Processor time already spent on the next drawing."""
        self._focus_before_zoom: Widget | None = None

    def compose(self) -> ComposeResult:
        """The red line, if any, and a section for each panel."""
        yield Mismatch()
        yield from self.sections

    def on_mount(self) -> None:
        """Follow the theme: a new one may differ in its cell colours only, and then no style rule changes.

        Follow the layout, too, to catch up with what changed while it was hidden. Textual 8.2.8 sends no Show to a
        widget that a scroll elsewhere laid out first: now and then the inspector stayed empty for good.
        """
        app_of(self).theme_changed_signal.subscribe(self, self._repaint)
        self.screen.screen_layout_refresh_signal.subscribe(  # pyright: ignore[reportUnknownMemberType]  Screen[Unknown]
            self, self._laid_out, immediate=True
        )
        self.watch(self.screen, "maximized", self._zoom_changed, init=False)
        self.arrange_sections(self._first_layout)

    def show(self, event: AnyEvent) -> None:
        """Take an engine event. Of many snapshots between two drawings only the newest is drawn."""
        if isinstance(event, TurnStarted | TurnDone | Started):
            self._replying = isinstance(event, TurnStarted)
            self._hurry()
        if self._observed.apply(event):
            self._schedule(self.sections)

    def show_drawn(self, ms: float) -> None:
        """Take the interface's processor time, in ms, for the turn that has just ended."""
        self._observed.drawn_ms = ms
        self._schedule(self.sections)

    def show_reading(self, reading: HostReading) -> None:
        """Show the memory of this moment, which the engine has not reported."""
        self._observed.reading = reading
        self._schedule(self.sections)

    def show_pressure(self, pressure: Pressure) -> None:
        """What its owner has made of the readings of the memory so far."""
        before, self._observed.pressure = self._observed.pressure, pressure
        if (pressure.level, pressure.why) != (before.level, before.why):
            self._schedule(self.sections)

    def forget_forecast(self) -> None:
        """Drop the forecast: there is no draft any more."""
        if self._observed.foreseen is not None:
            self._observed.foreseen = None
            self._schedule(self.sections)

    def start_over(self) -> None:
        """Forget everything: in a replay, what follows is about another position."""
        self._observed = Observed()
        self._schedule(self.sections)

    # ----------------------------------------------------------------------- sections

    @property
    def present(self) -> list[Section]:
        """The sections that this model has, from top to bottom."""
        return [section for section in self.sections if section.display]

    @property
    def current(self) -> Section:
        """The zoomed section, else the one with the focus, else the first one."""
        sections = self.present
        zoomed = [section for section in sections if section.zoomed]
        focused = [section for section in sections if section.has_focus_within]
        return (zoomed or focused or sections)[0]

    def section(self, name: str) -> Section:
        """The one whose name starts with `name`, in any case. Raises UserError, with the nearest name, if none does."""
        wanted = name.strip().lower()
        for section in self.present:
            if wanted and section.label.lower().startswith(wanted):
                return section
        names = [section.label.lower() for section in self.present]
        raise UserError(f"There is no panel {name}.", nearest(wanted, names, f"The panels: {', '.join(names)}."))

    @property
    def folds(self) -> dict[str, bool]:
        """Which sections are folded, by name."""
        return {section.label: section.folded for section in self.sections}

    @property
    def views(self) -> dict[str, PanelView]:
        """The sections' views, by name, for sections that have several."""
        return {section.label: body.view for section in self.sections if isinstance(body := section.body, Viewed)}

    def arrange_sections(self, layout: Layout) -> None:
        """Fold the sections, and set their views, as `layout` says."""
        for section in self.sections:
            section.body.display = not layout.folded.get(section.label, section.label in FOLDED_AT_FIRST)
            if isinstance(section.body, Viewed):
                section.body.use_view(layout.views.get(section.label, {}))
        self._schedule(self.sections)

    def zoom(self, section: Section) -> None:
        """Zoom a section to the whole screen, or back if it is zoomed."""
        if section.zoomed:
            self.screen.minimize()
            return
        if self._focus_before_zoom is None:
            self._focus_before_zoom = self.screen.focused
        section.body.display = True
        self.screen.maximize(section, container=False)
        if not section.has_focus_within:
            self.screen.set_focus(section.title)

    # ----------------------------------------------------------------------- what a person does

    def action_toggle_panel(self) -> None:
        """Fold or unfold; a zoomed panel is closed instead."""
        if self.current.zoomed:
            self.screen.minimize()
        else:
            self.current.fold(not self.current.folded)

    def action_explain_panel(self) -> None:
        """Show or hide its explanation."""
        self.current.explain()

    def action_zoom_panel(self) -> None:
        """Zoom it to the whole screen, or back."""
        self.zoom(self.current)

    def action_fold_panels(self) -> None:
        """Fold all panels, or unfold them if all are folded."""
        fold = not all(section.folded for section in self.present)
        for section in self.present:
            section.fold(fold)

    def action_heat_panel(self) -> None:
        """Show or hide the cache map's heat, whichever panel has the focus."""
        self.query_one(CacheMap).toggle_heat()

    def action_physical_panel(self) -> None:
        """Order the cache map by cell number, or by position again."""
        self.query_one(CacheMap).toggle_order()

    def action_filter_ledger(self) -> None:
        """Show the ledger's next kind of entry, whichever panel has the focus."""
        self.query_one(LedgerLog).show_next_kind()
        self._schedule(self.sections)

    def action_next_panel(self) -> None:
        """Go to the panel below."""
        self._step(1)

    def action_previous_panel(self) -> None:
        """Go to the panel above."""
        self._step(-1)

    def on_section_toggled(self, event: Section.Toggled) -> None:
        """Bring an unfolded section up to date, and those that become visible with the new layout."""
        event.stop()
        self._stale.update(self.sections)
        self._draw()
        self.post_message(self.Arranged())

    def on_view_changed(self, event: ViewChanged) -> None:
        """Draw the new view."""
        event.stop()
        self._draw()
        self.post_message(self.Arranged())

    def _step(self, by: int) -> None:
        """Along the sections; from one zoomed section to the next, still zoomed."""
        sections = self.present
        at = sections.index(self.current)
        if not 0 <= at + by < len(sections):
            return
        target = sections[at + by]
        if self.current.zoomed:
            self.zoom(target)
        else:
            self.screen.set_focus(target.title)

    def _zoom_changed(self, maximized: Widget | None) -> None:
        """After a zoom: return the focus to where it was, and catch up with what changed meanwhile."""
        if maximized is None and (before := self._focus_before_zoom) is not None:
            self._focus_before_zoom = None
            self.screen.set_focus(before)
        self.call_after_refresh(self._schedule, self.sections)

    # ----------------------------------------------------------------------- drawing

    @property
    def _seen(self) -> list[Section]:
        """The sections that a person can see, at least in part."""
        zoomed = [section for section in self.sections if section.zoomed]
        if zoomed or not displayed(self):
            return zoomed
        # Not by their regions: to find those that are scrolled away, Textual 8.2.8 lays out the whole screen.
        seen: list[Section] = []
        bottom = self.query_one(Mismatch).outer_size.height - self.scroll_y
        for section in self.present:
            top, bottom = bottom, bottom + section.outer_size.height
            if bottom > 0 and top < self.size.height:
                seen.append(section)
        return seen

    def _repaint(self, _theme: Theme) -> None:
        for widget in self.walk_children(Widget):
            widget.refresh()

    def _laid_out(self, _screen: Screen[object]) -> None:
        self._schedule()

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Draw what becomes visible."""
        super().watch_scroll_y(old_value, new_value)
        self._schedule()

    def _schedule(self, stale: Iterable[Section] = ()) -> None:
        """Schedule one drawing of the `stale` sections, no sooner than the pace allows; none while hidden."""
        self._stale.update(stale)
        if self._stale and self._timer is None and not self._stale.isdisjoint(self._seen):
            wait_s = self._pace.wait_s(time.monotonic(), sparing=self._replying and decodes_here(self._observed.loaded))
            self._timer = self.set_timer(wait_s, self._draw) if wait_s else None
            if self._timer is None:
                self._draw()

    def _hurry(self) -> None:
        """Reschedule a waiting drawing at the present pace."""
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
            self._schedule()

    def _draw(self) -> None:
        self._timer = None
        seen = self._seen
        if not seen:
            return
        self._pace.begin(time.monotonic())
        began_s = time.thread_time() - self._spent_s
        self._spent_s = 0.0
        bodies = [section.body for section in seen if not section.folded]
        if any(body.sort_out(self._observed) for body in bodies if isinstance(body, CacheMap)):
            self._spent_s = time.thread_time() - began_s
            self._timer = self.set_timer(0.001, self._draw)  # so that keys are handled in between
            return
        self.query_one(Mismatch).look(self._observed)
        for section in self.sections:
            section.turn_up(self._observed)
        for section in seen:
            section.look(self._observed)
        self._stale.difference_update(seen)
        self.call_after_refresh(lambda: self._pace.end(time.thread_time() - began_s))
