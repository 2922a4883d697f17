"""Widgets that lay out the screen only when their height changes, and that grow by several lines at once.

On Textual 8.2.8 a layout beside the open inspector takes 12 ms and a repaint 2; `Static` requests a layout with every
update, and every widget a second one because the first has changed its `virtual_size`, which matters only to a widget
that scrolls. A reply that grows by a word requests neither; nor does one that grows into the lines reserved below it.
Textual does not promise that `virtual_size` may be declared again. It can be removed when an update that changes no
size requests no layout.
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
"""Lines. While the transcript follows its end, each step scrolls everything, which costs five times as much as drawing
a line into the reserved ones; and text that does not move is easier to read."""


class Steady(Widget):
    """A mixin, listed after the widget class that it steadies: a widget in full width that does not scroll."""

    virtual_size = Reactive(Size(0, 0), layout=False)
    grows = False

    def is_growing(self) -> bool:
        """True while it reserves lines below."""
        return self.grows

    def with_room(self, height: int) -> int:
        """The lines that it takes up for a content of `height` lines."""
        return -(-height // STEP) * STEP if self.is_growing() else height

    def get_content_height(self, container: Size, viewport: Size, width: int) -> int:
        """In lines."""
        return self.with_room(super().get_content_height(container, viewport, width))


class SteadyStatic(Static, Steady):
    """A Static whose text determines only its height."""

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """Show `content`; request a layout only if the height changes."""
        width, height = self.content_size
        rules = cast(RulesMap, self.styles)  # as Widget.get_content_height does it
        if not self.is_attached:
            layout = False  # mounting does that; requested here, it would be done twice
        elif isinstance(content, Content) and width and height == self.with_room(content.get_height(rules, width)):
            layout = False
        super().update(content, layout=layout)
