"""Which tokens see which: the mask of a policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from rich.cells import cell_len, set_cell_size
from rich.text import Text

from chatapp.errors import UserError
from kernels.arrays import Bools, Ints
from kernels.masks import block_diagonal_causal, causal, chunked, sinks_and_window, sliding_window

MOST_TOKENS: Final = 4096
MOST_BLOCKS: Final = 48
"""Rows of the plot in a terminal."""
WIDEST_NAME: Final = 12
FUTURE, GONE, WINDOW, SINK = range(4)
GLYPHS: Final = " ·█S"
STYLES: Final = ("", "dim", "blue", "yellow")
SHADES: Final = "░▒▓█"


@dataclass(frozen=True)
class Mask:
    """The mask `sees (n, n)` of `n` tokens, in which the first `n_sink` are visible from beyond the window."""

    title: str
    sees: Bools
    n_sink: int
    words: list[str] | None
    settings: dict[str, Any]

    def numbers(self) -> dict[str, Any]:
        """The mask as rows of 0 and 1, one row per query."""
        return {
            **self.settings,
            "tokens": len(self.sees),
            "words": self.words,
            "seen_pairs": int(self.sees.sum()),
            "causal_pairs": len(self.sees) * (len(self.sees) + 1) // 2,
            "mask": self.sees.astype(int).tolist(),
        }

    def lines(self, room: int) -> list[Text]:
        """A mark for each pair of query (row) and key (column), or for blocks of them where there are many."""
        n_token, names = len(self.sees), self.names()
        width = min(WIDEST_NAME, max(map(cell_len, names)))
        block = -(-n_token // max(1, min(MOST_BLOCKS, (room - width - 2) // 2)))
        kinds = self.kinds()
        lines = [Text(f"{self.title}; {n_token} tokens"), Text()]
        for start in range(0, n_token, block):
            line = Text(f"{_right(names[start], width)}  ")
            for left in range(0, n_token, block):
                line.append(*_mark(kinds[start : start + block, left : left + block]))
                line.append(" ")
            line.rstrip()
            lines.append(line)
        seen, pairs = int(self.sees.sum()), n_token * (n_token + 1) // 2
        lines += [Text(), self._legend(block)]
        return [*lines, Text(f"Computes {seen:,} of the {pairs:,} pairs of causal attention ({seen / pairs:.1%}).")]

    def kinds(self) -> Ints:
        """FUTURE, GONE, WINDOW or SINK for each pair; a sink that is also in the window is SINK."""
        place = np.arange(len(self.sees))
        past = causal(place, place)
        sink = self.sees & (place < self.n_sink)
        return np.where(sink, SINK, np.where(self.sees, WINDOW, np.where(past, GONE, FUTURE)))

    def names(self) -> list[str]:
        """The tokens' labels: words, else numbers."""
        return self.words or [str(place) for place in range(len(self.sees))]

    def _legend(self, block: int) -> Text:
        legend = Text()
        if self.n_sink:
            legend.append("S", STYLES[SINK]).append(" sink  ")
        legend.append("█", STYLES[WINDOW]).append(" seen  ").append("·", STYLES[GONE]).append(" not seen")
        if block > 1:
            legend.append(f"  ░▒▓ partly seen; each mark is {block} x {block} tokens")
        return legend


def mask(
    policy: str,
    n_token: int,
    *,
    window: int | None,
    n_sink: int = 0,
    lengths: Sequence[int] = (),
    words: list[str] | None = None,
) -> Mask:
    """The mask of `policy` over `n_token` tokens.

    `window` is the size of the chunk for "chunked", and None where there is none: for "dense", and optionally for
    "packed", whose prompts, laid end to end, have `lengths`. UserError for more tokens than can be shown.
    """
    if n_token > MOST_TOKENS:
        raise UserError(f"A mask of {n_token:,} tokens is too large to show.", f"Use at most {MOST_TOKENS:,}.")
    place = np.arange(n_token)
    all_before = causal(place, place) if window is None else sliding_window(place, place, window)
    width = "" if window is None else f"a window of {window}, including the token itself"
    match policy:
        case "dense":
            title, sees = "Causal attention", causal(place, place)
        case "window":
            title, sees = width.capitalize(), all_before
        case "sinks":
            title, sees = (
                f"{n_sink} {'sink' if n_sink == 1 else 'sinks'} and {width}",
                sinks_and_window(place, place, window or n_token, n_sink),
            )
        case "chunked":
            title, sees = f"Chunks of {window}", chunked(place, place, window or n_token)
        case _:
            title = f"Prompts of {', '.join(map(str, lengths))} in one sequence{width and f', {width}'}"
            sees = block_diagonal_causal(lengths) & all_before
    settings = {"policy": policy, "window": window, "sinks": n_sink, "lengths": list(lengths) or None}
    return Mask(title, sees, n_sink, words, settings)


def _mark(kinds: Ints) -> tuple[str, str]:
    """The glyph and style of a block of pairs."""
    seen = kinds >= WINDOW
    if seen.any():
        kind = SINK if (kinds == SINK).sum() * 2 > seen.sum() else WINDOW
        possible = (kinds != FUTURE).sum()
        if kind == SINK or seen.sum() == possible:
            return GLYPHS[kind], STYLES[kind]
        return SHADES[int(len(SHADES) * seen.sum() / kinds.size)], STYLES[WINDOW]
    kind = GONE if (kinds == GONE).any() else FUTURE
    return GLYPHS[kind], STYLES[kind]


def _right(text: str, width: int) -> str:
    """`text` right-aligned in exactly `width` columns."""
    return " " * (width - cell_len(text)) + set_cell_size(text, min(width, cell_len(text)))
