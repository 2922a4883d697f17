"""What is done with the inspector on the main screen, and what it asks of the engine through the screen."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from textual import on, work
from textual.timer import Timer

from chatapp.ui.actions.ledger import LedgerActions
from chatapp.ui.bridge import EngineSaid
from chatapp.ui.layout import STEP, Layout, LayoutFile, fitting
from chatapp.ui.widgets.inspector.side import Side
from chatapp.ui.widgets.prompt import Prompt

if TYPE_CHECKING:
    from chatapp.protocol.codec import AnyEvent
    from chatapp.ui.cpu_time import DrawingTime
    from chatapp.ui.widgets.inspector.inspector import Inspector
    from chatapp.ui.widgets.inspector.inspector_line import InspectorLine
    from chatapp.ui.widgets.inspector.section import Section

KEEP_AFTER_S = 0.5
"""How long the layout rests before it is written: a person who widens the inspector presses the key several times."""


class InspectingActions(LedgerActions):
    """A part of ChatActions. No panel knows the screen: a panel posts a message, and its handler stands here."""

    arranged = Layout()
    """What the person has arranged by hand."""
    _layout_problem = ""
    _keeping: Timer | None = None
    _inspector: "Inspector"
    _inspector_line: "InspectorLine"
    _drawing: "DrawingTime"

    # ----------------------------------------------------------------------- the layout

    def restore_layout(self) -> None:
        """Take the layout of the last run."""
        if self.app.services.layout is not None:
            self.arranged, self._layout_problem = self.app.services.layout.load()
        self._lay_out()

    def begin_inspecting(self) -> None:
        """After the first paint: what it draws is imported only now."""
        from chatapp.ui.cpu_time import DrawingTime
        from chatapp.ui.widgets.inspector.inspector import Inspector
        from chatapp.ui.widgets.inspector.inspector_line import InspectorLine

        fps = self.app.config.ui.frames_per_second
        self._inspector = Inspector(frames_per_second=fps, layout=self.arranged)
        self._inspector_line = InspectorLine()
        self._drawing = DrawingTime(self.app.services.cpu_s)
        self.query_one(Side).mount(self._inspector)
        self.query_one("#inspector-line").mount(self._inspector_line)
        if self._layout_problem:
            self.show_notice("warning", self._layout_problem)

    def inspect_event(self, event: "AnyEvent") -> None:
        """Show what the engine said in the inspector and in its one-line form."""
        self._inspector.show(event)
        self._inspector_line.show(event)
        drawn_ms = self._drawing.take(event)
        if drawn_ms is not None:
            self._inspector.show_drawn(drawn_ms)

    def reread_memory(self) -> None:
        """Say that memory runs out while nothing is going on, too."""
        read = self.app.services.memory
        if self.chat is None or read is None or (picture := self.chat.reread(read, time.time())) is None:
            return
        self.inspect_event(picture)
        self.chat.saw(picture)

    def inspect_draft(self, forecast: str) -> None:
        """Show what sending the draft would do in the one-line form; the panel has the engine's own answer."""
        self._inspector_line.show_draft(forecast)
        if not forecast:
            self._inspector.forget_forecast()

    @on(EngineSaid)
    def _cache_changed(self, event: EngineSaid) -> None:
        """What stands in the prompt meets another cache now: ask for its forecast again."""
        from chatapp.protocol.events import Opened, Pinned, Recalled, RolledBack, TurnDone

        if isinstance(event.event, Opened | Pinned | Recalled | RolledBack | TurnDone):
            self.query_one(Prompt).tell_draft()

    def fit_inspector(self) -> None:
        """Its width, for the screen's width of this moment."""
        self.query_one(Side).fit(self._width, over=self.has_class("-narrow"))

    def keep_layout(self) -> None:
        """Write the layout now, if it waits to be written."""
        if self._keeping is not None and self.app.services.layout is not None:
            self._keeping.stop()
            self._keeping = None
            self.app.services.layout.keep(self.arranged)

    @property
    def _width(self) -> int:
        """The columns that are wanted."""
        return self.arranged.width or self.app.config.ui.inspector_width

    def _lay_out(self) -> None:
        shown = self.arranged.shown
        self.set_class(self.app.config.ui.inspector if shown is None else shown, "-inspect")
        self.fit_inspector()

    def _arrange(self, layout: Layout) -> None:
        """This is the layout from now on, in the next run too."""
        self.arranged = layout
        if self._keeping is not None:
            self._keeping.stop()
        self._keeping = self.set_timer(KEEP_AFTER_S, self._rested)

    def _rested(self) -> None:
        self._keeping = None
        if self.app.services.layout is not None:
            self._write(self.app.services.layout, self.arranged)

    @work(thread=True, group="layout")
    def _write(self, file: LayoutFile, layout: Layout) -> None:
        """Off the event loop: the bytes are waited for until they are on the disk."""
        file.keep(layout)

    def on_side_sized(self, event: Side.Sized) -> None:
        """The edge was dragged."""
        event.stop()
        self._arrange(replace(self.arranged, width=event.width))

    def on_inspector_arranged(self) -> None:
        """A panel was folded, or is looked at in another way."""
        self._arrange(replace(self.arranged, folded=self._inspector.folds, views=self._inspector.views))

    # ----------------------------------------------------------------------- the inspector

    def action_inspector(self) -> None:
        """Show or hide the inspector: beside the chat where there is room, over it where there is none."""
        self.minimize()
        if self.has_class("-wide"):
            self.toggle_class("-inspect")
            self._arrange(replace(self.arranged, shown=self.has_class("-inspect")))
        else:
            self.toggle_class("-overlay")
        self._focus_what_is_seen()

    def action_inspect(self) -> None:
        """Into the inspector, which opens for that; back to the prompt from there, and from a zoomed panel."""
        if self._inspector.has_focus_within:
            self.minimize()
            self.leave_inspector()
        else:
            self.add_class("-inspect" if self.has_class("-wide") else "-overlay")
            self.set_focus(self._inspector.current.title)

    def leave_inspector(self) -> bool:
        """Back to the prompt, from the inspector or from under it; False where the person was in neither."""
        over = self.has_class("-overlay")
        within = self._inspector.has_focus_within
        self.remove_class("-overlay")
        if within:
            self.set_focus(self.query_one(Prompt))
        return over or within

    def action_zoom(self, panel: str = "") -> None:
        """Give a panel the whole screen, or its place again."""
        self._inspector.zoom(self._panel(panel))

    def action_fold(self, panel: str = "") -> None:
        """Fold a panel or unfold it; without a name, all of them."""
        if panel:
            section = self._panel(panel)
            section.fold(not section.folded)
        else:
            self._inspector.action_fold_panels()

    def action_explain(self, panel: str = "") -> None:
        """Say what a panel shows and how that was measured."""
        section = self._panel(panel)
        section.explain()
        section.scroll_visible()

    def action_wider(self) -> None:
        """More columns for the inspector."""
        self._widen(STEP)

    def action_narrower(self) -> None:
        """More columns for the chat."""
        self._widen(-STEP)

    def action_reset_layout(self) -> None:
        """As the config says."""
        self._arrange(Layout())
        self._lay_out()
        self._inspector.arrange_sections(self.arranged)

    def _widen(self, by: int) -> None:
        """From the width that there is: one that the screen had no room for would make the first keys do nothing."""
        columns, over = self.size.width, self.has_class("-narrow")
        now = fitting(self._width, columns, over=over)
        self._arrange(replace(self.arranged, width=fitting(now + by, columns, over=over)))
        self.fit_inspector()

    def _panel(self, name: str) -> "Section":
        return self._inspector.section(name) if name else self._inspector.current

    def _focus_what_is_seen(self) -> None:
        """A hidden widget takes no keys."""
        if not self.has_class("-inspect" if self.has_class("-wide") else "-overlay"):
            self.leave_inspector()
