"""Long pastes, each folded into a marker that stands for it in the prompt."""

import re
from itertools import count

PASTE_LINES = 40
PASTE_CHARS = 4_000
"""A longer paste is folded into a marker: laying out a book in the prompt with every key would be slow."""


class FoldedPastes:
    """The pasted texts by their markers. A marker is one line, and no marker is part of another."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._markers: re.Pattern[str] | None = None
        """Finds the markers; None while there are none."""

    def fold(self, text: str, beside: str = "") -> str:
        """`text`, or a marker for it if it is long; `beside` is what is in the prompt already.

        A short text that happens to contain a marker is folded too, or it would be sent as what that stands for.
        """
        lines = text.count("\n") + 1
        short = lines <= PASTE_LINES and len(text) <= PASTE_CHARS
        if short and (self._markers is None or self._markers.search(text) is None):
            return text
        taken = [*self._texts, beside, text]
        begun = (f"⟦text {number}: " for number in count(1))
        begin = next(begin for begin in begun if not any(begin in each for each in taken))
        marker = f"{begin}{lines:,} lines, {len(text):,} characters⟧"
        self._keep({**self._texts, marker: text})
        return marker

    def unfold(self, text: str) -> str:
        """`text` with every marker replaced by what it stands for, once: a paste is text, whatever it contains."""
        return text if self._markers is None else self._markers.sub(lambda found: self._texts[found[0]], text)

    def places(self, line: str) -> list[tuple[int, int]]:
        """Where the markers of a line begin and end."""
        return [] if self._markers is None else [found.span() for found in self._markers.finditer(line)]

    def forget_all_but(self, used: str) -> None:
        """Forget the pastes whose markers are not in the text `used`."""
        self._keep({marker: text for marker, text in self._texts.items() if marker in used})

    def _keep(self, texts: dict[str, str]) -> None:
        self._texts = texts
        self._markers = re.compile("|".join(map(re.escape, texts))) if texts else None
