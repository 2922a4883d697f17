"""The inspector on a screen: beside the conversation, over it or as one line; how wide it is, and what is folded."""

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
"""How long the layout rests before it is written: a person who widens the inspector presses the key several times."""


class InspectorPane:
    """Shows and arranges the inspector of one screen, which has a `Side` and a container `#inspector-line`.

    The screen's classes say how: `-inspect` that it is shown, `-overlay` that it lies over a narrow screen.
    """

    inspector: "Inspector"
    """The panels, from `fill` on."""
    line: "InspectorLine"
    """The same in one line, for narrow screens."""

    def __init__(
        self,
        screen: Screen[None],
        ui: "UiConfig",
        layout: Layout,
        *,
        home: type[Widget],
        changed: Callable[[Layout], None] | None = None,
    ) -> None:
        """`home` takes the focus when the person leaves the inspector; `changed` gets each new layout."""
        self.layout = layout
        """What the person has arranged by hand."""
        self._screen, self._ui, self._home = screen, ui, home
        self._changed = changed

    def fill(self, inspector: "Inspector", line: "InspectorLine") -> None:
        """The widgets, which may come after the first paint."""
        self.inspector, self.line = inspector, line

    def show(self, event: "AnyEvent") -> None:
        """Show what the engine said."""
        self.inspector.show(event)
        self.line.show(event)

    def show_reading(self, reading: "HostReading") -> None:
        """Show what was read of the host's memory while the engine had nothing to do."""
        self.inspector.show_reading(reading)
        self.line.show_reading(reading)

    def start_over(self) -> None:
        """Know nothing any more: what follows tells of another place of a trace."""
        self.inspector.start_over()
        self.line.show_snapshot(None)

    def show_draft(self, forecast: str) -> None:
        """Show what sending the draft would do in the one line; the panel has the engine's own answer."""
        self.line.show_draft(forecast)
        if not forecast:
            self.inspector.forget_forecast()

    # ----------------------------------------------------------------------- where it stands

    @property
    def as_line(self) -> bool:
        """True while the one line shows it."""
        return self._screen.has_class("-narrow") and self._screen.has_class("-inspect")

    def apply_layout(self) -> None:
        """Show or hide it, as wide as the layout and the config say."""
        shown = self.layout.shown
        self._screen.set_class(self._ui.inspector if shown is None else shown, "-inspect")
        self.fit()

    def fit(self) -> None:
        """Take the width that the screen has room for now."""
        self._screen.query_one(Side).fit(self._wanted, over=self._screen.has_class("-narrow"))

    def toggle(self) -> None:
        """Show or hide it: beside the conversation where there is room, over it where there is none."""
        self._screen.minimize()
        self._screen.toggle_class(self._shown_by)
        if self._screen.has_class("-wide"):
            self._arrange(replace(self.layout, shown=self._screen.has_class("-inspect")))
        if not self._screen.has_class(self._shown_by):
            self.leave()  # a hidden widget takes no keys

    def enter(self) -> None:
        """Show it, and give it the focus."""
        self._screen.add_class(self._shown_by)
        self._screen.set_focus(self.inspector.current.title)

    def leave(self) -> bool:
        """Give the focus back, and close it where it lies over the screen; False where the person was in neither."""
        over, within = self._screen.has_class("-overlay"), self.has_focus
        self._screen.remove_class("-overlay")
        if within:
            self._screen.set_focus(self._screen.query_one(self._home))
        return over or within

    @property
    def has_focus(self) -> bool:
        """True while the person is in it."""
        return self.inspector.has_focus_within

    @property
    def zoomed(self) -> bool:
        """True while a panel has the whole screen."""
        return self._screen.maximized is not None

    def unzoom(self) -> None:
        """Give a zoomed panel its place again."""
        self._screen.minimize()

    # ----------------------------------------------------------------------- how it is arranged

    def section(self, name: str) -> "Section":
        """The panel of this name, else the current one. Raises UserError where there is none."""
        return self.inspector.section(name) if name else self.inspector.current

    def widen(self, steps: int) -> None:
        """From the width that there is: one that the screen had no room for would make the first keys do nothing."""
        columns, over = self._screen.size.width, self._screen.has_class("-narrow")
        now = fitting(self._wanted, columns, over=over)
        self.take_width(fitting(now + steps * STEP, columns, over=over))
        self.fit()

    def take_width(self, width: int) -> None:
        """The edge was dragged: this many columns are wanted from now on."""
        self._arrange(replace(self.layout, width=width))

    def take_panels(self) -> None:
        """A panel was folded, or is looked at in another way."""
        self._arrange(replace(self.layout, folded=self.inspector.folds, views=self.inspector.views))

    def reset(self) -> None:
        """Arrange everything as the config says."""
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
    """Writes the layout to its file for the next run, once nothing has changed for a moment."""

    def __init__(self, screen: Screen[None], file: LayoutFile | None) -> None:
        self._screen, self._file = screen, file
        self._layout = Layout()
        self._timer: Timer | None = None

    def load(self) -> tuple[Layout, str]:
        """The layout of the last run, and what is wrong with it, if anything."""
        return (Layout(), "") if self._file is None else self._file.load()

    def change(self, layout: Layout) -> None:
        """This is to be kept."""
        self._layout = layout
        if self._timer is not None:
            self._timer.stop()
        self._timer = self._screen.set_timer(KEEP_AFTER_S, self._rested)

    def keep_now(self) -> None:
        """Write what waits to be written: the program ends."""
        if self._timer is not None and self._file is not None:
            self._timer.stop()
            self._timer = None
            self._file.keep(self._layout)

    def _rested(self) -> None:
        self._timer = None
        if self._file is not None:
            file, layout = self._file, self._layout
            # Off the event loop: the bytes are waited for until they are on the disk.
            self._screen.run_worker(lambda: file.keep(layout), thread=True, group="layout")
