"""The inspector in one line, for narrow terminals."""

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from chatapp.presentation import format
from chatapp.presentation.cache_map.cells import cells, disagreement
from chatapp.presentation.cache_map.words import sink_sources
from chatapp.presentation.host_reading import HostReading
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Loaded, Probed, Snapshot, Started
from chatapp.ui.widgets.inspector import paint
from chatapp.ui.widgets.inspector.snapshot_line import SnapshotLine

_LEAST_MAP = 12


class InspectorLine(SnapshotLine):
    """`▐sinks 31▌` map `412/512 · 3 turns evicted · 61 tok/s · 239 MiB`; feed it every engine event with `show`.

    While a person writes, the forecast of the draft comes before the other figures. The map takes the remaining width;
    on a narrow terminal the last figures are dropped first.
    """

    def __init__(self) -> None:
        super().__init__()
        self._sink_share: float | None = None
        self._draft = ""
        self._reading: HostReading | None = None
        """The memory as the interface has read it since the newest snapshot."""

    def on_mount(self) -> None:
        """Follow the theme's cell colours."""
        paint.app_of(self).theme_changed_signal.subscribe(self, lambda _theme: self.refresh())

    def show(self, event: AnyEvent) -> None:
        """Take an engine event. Textual draws a refreshed line once per frame, however many snapshots there were."""
        match event:
            case Snapshot():
                self._reading = None
                self.show_snapshot(event)
            case Probed():
                self._sink_share = event.sink_share
                self.redraw()
            case Loaded() | Started():
                self._sink_share = self._reading = None
                self.show_snapshot(None)
            case _:
                pass

    def show_reading(self, reading: HostReading) -> None:
        """Show the memory of this moment, which the engine has not reported."""
        self._reading = reading
        self.redraw()

    def show_draft(self, forecast: str) -> None:
        """Show what sending the draft would do; an empty text if there is no draft."""
        self._draft = forecast
        self.redraw()

    def render_line(self, y: int) -> Strip:
        """The line, for the width and the theme of this moment."""
        snapshot, colours, width = self.snapshot, self.colours, self.size.width
        if snapshot is None:
            return self.strip([Segment("no cache yet", colours.style("ghost"))])
        if disagreement(snapshot) is not None:
            badge = Segment(" map is wrong ", colours.style("mismatch") + Style(bold=True, reverse=True))
        else:
            sinks = sum(n for _, n in sink_sources(snapshot))
            badge = Segment(f"▐sinks {sinks:,}▌", colours.style("sink"))
        room = width - badge.cell_length - 2
        words = self._words(snapshot)
        while len(words) > 1 and room - cell_len(" · ".join(words)) < _LEAST_MAP:
            words.pop()
        room -= cell_len(" · ".join(words))
        blocks = [paint.block(group, colours) for group in cells(snapshot, room, 1)] if room > 0 else []
        return self.strip([badge, Segment(" "), *blocks, Segment(f" {' · '.join(words)}")])

    def _words(self, snapshot: Snapshot) -> list[str]:
        """The figures, the most important first."""
        words = [f"{snapshot.n_used:,}/{snapshot.n_ctx:,}"]
        if self._draft:
            words.append(self._draft)
        if snapshot.evicted_turns:
            words.append(f"{format.plural(snapshot.evicted_turns, 'turn')} evicted")
        if self._sink_share is not None:
            words.append(f"{self._sink_share:.0%} on sinks")
        if snapshot.decode_tok_s is not None:
            words.append(f"{format.rate(snapshot.decode_tok_s)} tok/s")
        resident_bytes = (self._reading or snapshot).resident_bytes
        if resident_bytes is not None:
            words.append(format.size(resident_bytes))
        return words
