"""What the panels of the probe's samples have in common: where the newest one was taken, and how to get one."""

import textwrap
from functools import lru_cache

from textual.content import Content

from chatapp.presentation.observed import Observed
from chatapp.protocol.events import Probed
from chatapp.text import LONGEST_SENTENCE, one_line
from chatapp.ui.widgets.inspector.panel import LABEL_WIDTH, Panel, labelled

WIDE = 72
"""From this many columns on a panel shows its whole table: zoomed, or in an inspector made this wide."""


class SampledPanel(Panel):
    """A panel of samples. Its rows are made once for each sample, not for every snapshot: a table has many shades."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[Content] = []
        self._of: tuple[object, object, object] = (None, None, None)
        self._and: tuple[int, object] | None = None

    def make(self, observed: Observed, width: int) -> list[Content]:
        """The lines of the panel; none here."""
        del observed, width
        return []

    def depends_on(self, observed: Observed) -> object:
        """What else the rows depend on, besides the sample, the model, the theme and the width."""
        del observed

    def rows(self, observed: Observed, width: int) -> list[Content]:
        """The lines of the panel, made again only if they can differ."""
        # By identity: comparing two samples would take longer than drawing one.
        of, others = (observed.probed, observed.loaded, self.colours), (width, self.depends_on(observed))
        if others != self._and or any(new is not old for new, old in zip(of, self._of, strict=True)):
            self._made, self._of, self._and = self.make(observed, width), of, others
        return self._made


def noted(label: str, text: str, width: int, style: str = "") -> list[Content]:
    """A label and a text, wrapped between words to fit `width`."""
    lines = _broken(text, max(12, width - LABEL_WIDTH))
    return [labelled(label if not at else "", Content.styled(line, style)) for at, line in enumerate(lines)]


@lru_cache(maxsize=256)
def _broken(text: str, width: int) -> list[str]:
    """Most texts stay the same from one drawing to the next, and wrapping one takes longer than drawing it."""
    return textwrap.wrap(text, width) or [""]


def unsampled(observed: Observed, width: int) -> list[Content]:
    """Why there is no sample yet, and what to do about it."""
    loaded = observed.loaded
    if loaded is None:
        return noted("sample", "no model is loaded", width)
    if not loaded.capability.probe.ok:
        return noted("sample", f"cannot be read: {one_line(loaded.capability.probe.why, LONGEST_SENTENCE)}", width)
    return noted("sample", "no sample yet; /look takes one", width)


def sampled(probed: Probed, width: int) -> list[Content]:
    """Which token the newest sample is."""
    turn = f" · turn {probed.turn:,}" if probed.turn is not None else ""
    return noted("sample", f"position {probed.pos:,}{turn}", width)
