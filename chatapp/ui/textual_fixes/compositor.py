"""When part of a screen has changed, draws only the widgets that the change touches.

Textual 8.2.8 renders every widget that overlaps the one rectangle around all that has changed. With a conversation on
the left and figures on the right nearly every frame changes something in two corners, and the rectangle around them is
the screen: 41 widgets where 12 have changed. It can be removed when Textual renders only the widgets that a changed
region touches, or when the chat without it decodes no more than one percent slower (benchmarks/draw_cost.py).
"""

from collections.abc import Iterable

from textual import events, on
from textual._compositor import ChopsUpdate, Compositor
from textual.geometry import Region
from textual.screen import Screen
from textual.strip import Strip


class SparingCompositor(Compositor):
    """Draws what `Compositor` draws, but renders fewer widgets."""

    def __init__(self) -> None:
        super().__init__()
        self._changed: tuple[Region, ...] = ()
        """While a partial update is drawn: the regions that it is of."""

    def render_partial_update(self) -> ChopsUpdate | None:
        """Draw what has changed; None if nothing has."""
        self._changed = tuple(self._dirty_regions)
        try:
            return super().render_partial_update()
        finally:
            self._changed = ()

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Region, clip and lines of the widgets to be drawn, those on top first.

        Of each widget, the lines from the first to the last changed one, in its whole width; the caller skips the parts
        that another widget covers.
        """
        if not self._changed:
            yield from super()._get_renders(crop)
            return
        for widget, (region, clip) in self.visible_widgets.items():
            seen = region.intersection(clip)
            touched = [changed for changed in self._changed if changed.overlaps(seen)]
            if touched:
                top = max(seen.y, min(changed.y for changed in touched))
                bottom = min(seen.bottom, max(changed.bottom for changed in touched))
                lines = Region(seen.x, top, seen.width, bottom - top)
                yield region, lines, widget.render_lines(lines.translate(-region.offset))


class SparingScreen(Screen[None]):
    """A screen with this compositor, which is laid out only for the terminal's current size."""

    def __init__(self, name: str | None = None, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(name, id, classes)
        self._compositor = SparingCompositor()

    def _compositor_refresh(self) -> None:
        """Draw what is dirty too, and not only forget it.

        Textual 8.2.8 draws a layout that is done inside `batch_update` (at a start, for one) later, and forgets then
        what became dirty in between: one start in a hundred on a busy machine kept a status line of the moment before.
        """
        self._compositor.update_widgets(self._dirty_widgets)
        super()._compositor_refresh()

    @on(events.Resize)
    def _drop_outdated_size(self, event: events.Resize) -> None:
        """Do not lay out for a size that the terminal no longer has.

        Textual 8.2.8 follows each layout in another size with one more Resize. If two sizes are queued at the same
        time, with any message between them, each brings back the other, forever.
        """
        if event.size != self.app.size:  # pyright: ignore[reportUnknownMemberType]  App[Unknown]
            event.prevent_default()
