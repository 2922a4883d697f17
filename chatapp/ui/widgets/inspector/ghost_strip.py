"""The evicted turns, drawn before the cache."""

from rich.segment import Segment
from textual import events
from textual.strip import Strip

from chatapp.presentation.cache_map.cells import GhostMark, ghost_marks
from chatapp.protocol.events import Snapshot
from chatapp.ui.widgets.inspector import paint
from chatapp.ui.widgets.inspector.cell_grid import TurnChosen
from chatapp.ui.widgets.inspector.snapshot_line import SnapshotLine


class GhostStrip(SnapshotLine):
    """The evicted turns, as marks before the map; a click goes to the turn in the transcript."""

    def render_line(self, y: int) -> Strip:
        """ "evicted 12+ ░░▒▒▒╱╱": one column for each digit of a turn's token count."""
        grey = self.colours.style("ghost")
        if self.snapshot is None:
            return self.strip([])
        if not (self.snapshot.evicted_tokens or self.snapshot.evicted_turns):
            return self.strip([Segment("nothing evicted", grey)])
        lead, marks = self._layout(self.snapshot)
        ghosts = [paint.ghost(mark.turn, mark.width, mark.whole, self.colours) for mark in marks]
        return self.strip([Segment(lead, grey), *ghosts])

    def on_click(self, event: events.Click) -> None:
        """Choose the evicted turn under the mouse."""
        offset = event.get_content_offset(self)
        if self.snapshot is None or offset is None:
            return
        lead, marks = self._layout(self.snapshot)
        at = len(lead)
        for mark in marks:
            if at <= offset.x < at + mark.width and mark.turn:
                self.post_message(TurnChosen(mark.turn))
            at += mark.width

    def _layout(self, snapshot: Snapshot) -> tuple[str, list[GhostMark]]:
        """The words before the marks (with the number of turns that do not fit), and the marks."""
        lead = "evicted "
        marks, earlier = ghost_marks(snapshot, self.size.width - len(lead))
        if earlier:
            # The count takes columns from the marks, and fewer marks may add a digit to the count: reserve one more.
            room = self.size.width - len(f"evicted {earlier:,}+ ") - 1
            marks, earlier = ghost_marks(snapshot, room)
            lead = f"evicted {earlier:,}+ "
        return lead, marks
