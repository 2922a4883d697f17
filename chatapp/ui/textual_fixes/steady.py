"""Widgets that lay out the screen no more often than their height changes, and grow in steps of several lines.

On Textual 8.2.8 a layout beside the open inspector takes 12 ms and a repaint 2; `Static` asks for a layout with every
update, and every widget for a second one because the first has changed its `virtual_size`, which matters only to one
that scrolls. A reply that grows by a word asks for neither; nor does one that grows into the room left below it.
Textual nowhere promises that `virtual_size` may be declared again. It may go when an update that changes no size asks
for no layout.
"""

from typing import cast

from textual.content import Content
from textual.css.styles import RulesMap
from textual.geometry import Size
from textual.reactive import Reactive
from textual.visual import VisualType
from textual.widget import Widget
from textual.widgets import Static

STEP = 3
"""Lines. Where the transcript follows its end, each step moves all that is seen, which costs five times what drawing a
line in the room that is left does; and text that stands still is easier to read."""


class Steady(Widget):
    """A mixin, to stand after the widget that it steadies: one as wide as there is room, and that does not scroll."""

    virtual_size = Reactive(Size(0, 0), layout=False)
    grows = False

    def is_growing(self) -> bool:
        """True while it leaves room below."""
        return self.grows

    def with_room(self, height: int) -> int:
        """Lines that it takes for a content of `height` lines."""
        return -(-height // STEP) * STEP if self.is_growing() else height

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """In lines."""
        return self.with_room(super().get_content_height(container, viewport, width))


class SteadyStatic(Static, Steady):
    """A Static of which only the height depends on its text."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show this."""
        width, height = self.content_size
        rules = cast(RulesMap, self.styles)  # as Widget.get_content_height does it
        if not self.is_attached:
            layout = False  # to mount it does that; asked for here it would come once more, when that has been done
        elif isinstance(content, Content) and width and height == self.with_room(content.get_height(rules, width)):
            layout = False
        super().update(content, layout=layout)
