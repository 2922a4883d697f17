"""The inspector on a screen: beside the conversation, over it or as one line; its width and its folded panels."""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from textual.screen import Screen
from textual.timer import Timer
from textual.widget import Widget

from chatapp.ui.layout import STEP, Layout, LayoutFile, fitting
from chatapp.ui.widgets.inspector.side import Side

if TYPE_CHECKING:
    from chatapp.config.models import UiConfig
    from chatapp.presentation.host_reading import HostReading
    from chatapp.protocol.codec import AnyEvent
    from chatapp.ui.widgets.inspector.inspector import Inspector
    from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
    from chatapp.ui.widgets.inspector.section import Section

KEEP_AFTER_S = 0.5
"""How long the layout must be unchanged before it is written: the key that widens it is pressed repeatedly."""


class InspectorPane:
    """Shows and arranges the inspector of one screen, which has a `Side` and a container `#inspector-line`.

    The screen's classes say how: `-inspect` that it is shown, `-overlay` that it lies over a narrow screen.
    """

    inspector: "Inspector"
    """The panels, once `fill` was called."""
    line: "InspectorLine"
    """The inspector as one line, for narrow screens."""

    def __init__(
        self,
        screen: Screen[None],
        ui: "UiConfig",
        layout: Layout,
        *,
        home: type[Widget],
        changed: Callable[[Layout], None] | None = None,
    ) -> None:
        """`home` gets the focus when the inspector loses it; `changed` gets each new layout."""
        self.layout = layout
        """What the person has changed by hand."""
        self._screen, self._ui, self._home = screen, ui, home
        self._changed = changed
        self._entered = False
        """The person has asked for the keys that act on a panel."""

    def fill(self, inspector: "Inspector", line: "InspectorLine") -> None:
        """Set the widgets, which may be created after the first paint."""
        self.inspector, self.line = inspector, line

    def show(self, event: "AnyEvent") -> None:
        """Show an event of the engine."""
        self.inspector.show(event)
        self.line.show(event)

    def show_reading(self, reading: "HostReading") -> None:
        """Show a reading of the host's memory, made while the engine was idle."""
        self.inspector.show_reading(reading)
        self.line.show_reading(reading)

    def start_over(self) -> None:
        """Forget everything: what follows is from another position of a trace."""
        self.inspector.start_over()
        self.line.show_snapshot(None)

    def show_draft(self, forecast: str) -> None:
        """Show in the one line what sending the draft would do; the panel shows the engine's own answer."""
        self.line.show_draft(forecast)
        if not forecast:
            self.inspector.forget_forecast()

    # ----------------------------------------------------------------------- showing and focus

    @property
    def as_line(self) -> bool:
        """True while it is shown as one line."""
        return self._screen.has_class("-narrow") and self._screen.has_class("-inspect")

    def apply_layout(self) -> None:
        """Show or hide it, in the width of the layout or the config."""
        shown = self.layout.shown
        self._screen.set_class(self._ui.inspector if shown is None else shown, "-inspect")
        self.fit()

    def fit(self) -> None:
        """Fit its width to the screen."""
        self._screen.query_one(Side).fit(self._wanted, over=self._screen.has_class("-narrow"))

    def toggle(self) -> None:
        """Show or hide it: beside the conversation on a wide screen, over it on a narrow one."""
        self._screen.minimize()
        self._screen.toggle_class(self._shown_by)
        if self._screen.has_class("-wide"):
            self._arrange(replace(self.layout, shown=self._screen.has_class("-inspect")))
        if not self._screen.has_class(self._shown_by):
            self.leave()  # a hidden widget takes no keys

    def enter(self) -> None:
        """Show it, and have single keys act on a panel while it has the focus."""
        self._screen.add_class(self._shown_by)
        self._entered = True
        self._screen.set_focus(self.inspector.current.title)

    def leave(self) -> bool:
        """Return the focus, and close it if it covers the chat; False if it did neither."""
        over, within = self._screen.has_class("-overlay"), self.has_focus
        self._screen.remove_class("-overlay")
        if within:
            self._screen.set_focus(self._screen.query_one(self._home))
        return over or within

    def uncover(self, column: int) -> None:
        """Close it if it lies over this column of the screen."""
        if self._screen.has_class("-overlay") and column >= self._screen.query_one(Side).region.x:
            self.leave()

    @property
    def has_focus(self) -> bool:
        """True while it has the focus."""
        return self.inspector.has_focus_within

    @property
    def takes_keys(self) -> bool:
        """True while single keys act on a panel: it was entered, or a panel is zoomed, which covers the prompt."""
        return self.has_focus and (self._entered or self.zoomed)

    def notice_focus(self) -> None:
        """The focus has moved: without it, the inspector has to be entered again."""
        self._entered = self._entered and self.has_focus

    @property
    def zoomed(self) -> bool:
        """True while a panel covers the whole screen."""
        return self._screen.maximized is not None

    def unzoom(self) -> None:
        """Restore a zoomed panel."""
        self._screen.minimize()

    # ----------------------------------------------------------------------- layout

    def section(self, name: str) -> "Section":
        """The panel of this name, or the current one without a name. Raises UserError if there is none."""
        return self.inspector.section(name) if name else self.inspector.current

    def widen(self, steps: int) -> None:
        """Change the width from the one shown: from a wanted one that did not fit, the first keys would do nothing."""
        columns, over = self._screen.size.width, self._screen.has_class("-narrow")
        now = fitting(self._wanted, columns, over=over)
        self.take_width(fitting(now + steps * STEP, columns, over=over))
        self.fit()

    def take_width(self, width: int) -> None:
        """The edge was dragged: keep this width, in columns."""
        self._arrange(replace(self.layout, width=width))

    def take_panels(self) -> None:
        """A panel was folded, or switched to another view: keep that."""
        self._arrange(replace(self.layout, folded=self.inspector.folds, views=self.inspector.views))

    def reset(self) -> None:
        """Reset the layout to that of the config."""
        self._arrange(Layout())
        self.apply_layout()
        self.inspector.arrange_sections(self.layout)

    @property
    def _shown_by(self) -> str:
        return "-inspect" if self._screen.has_class("-wide") else "-overlay"

    @property
    def _wanted(self) -> int:
        """Columns."""
        return self.layout.width or self._ui.inspector_width

    def _arrange(self, layout: Layout) -> None:
        self.layout = layout
        if self._changed is not None:
            self._changed(layout)


class KeptLayout:
    """Writes the layout to its file for the next run, once it has not changed for a moment."""

    def __init__(self, screen: Screen[None], file: LayoutFile | None) -> None:
        self._screen, self._file = screen, file
        self._layout = Layout()
        self._timer: Timer | None = None

    def load(self) -> tuple[Layout, str]:
        """The layout of the last run, and what is wrong with it, if anything."""
        return (Layout(), "") if self._file is None else self._file.load()

    def change(self, layout: Layout) -> None:
        """Keep this layout."""
        self._layout = layout
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._screen.set_timer(KEEP_AFTER_S, self._rested)

    def keep_now(self) -> None:
        """Write a layout that is not written yet: the program ends."""
        if self._timer is not None and self._file is not None:
            self._timer.stop()
            self._timer = None
            self._file.keep(self._layout)

    def _rested(self) -> None:
        self._timer = None
        if self._file is not None:
            file, layout = self._file, self._layout
            # Off the event loop: it waits until the bytes are on disk.
            self._screen.run_worker(lambda: file.keep(layout), thread=True, group="layout")
