"""The ledger's entries as lines of text, for a narrow panel and for a whole screen, and the sums by kind."""

import textwrap
from collections.abc import Iterable, Mapping

from chatapp.presentation import format
from chatapp.presentation.ledger.book import KINDS, LedgerEntry, Sum

NARROW_WIDTH = 39
"""Columns including `cache`, when the time has seconds."""
WRAPPED_WIDTH = 64
"""From this many columns on, reasons are wrapped: none of them is cut."""
WIDE_WIDTH = 90
"""From this many columns on, figures are whole, too."""
_SHORT_ENDS = (24, 30, 36)
"""Where `tok`, `took` and `cache` end when the time has no seconds."""
_SUM = 36
"""Columns of one kind's sum."""


def heading(width: int) -> str:
    """The names of the columns."""
    if width < WIDE_WIDTH:
        return f"{'time':<{_clock_width(width)}} {'what':<7} {'turn':<4} {'tok':>5} {'took':>5} {'cache':>5}"
    return f"{'time':<8} {'what':<7} {'turn':<9} {'tokens':>9} {'processed':>9} {'cached':>9} {'took':>10}    why"


def whole_columns(width: int) -> int:
    """The columns up to the last one that fits: a number that is cut reads as a smaller one."""
    return width if width >= NARROW_WIDTH else max((end for end in _SHORT_ENDS if end <= width), default=width)


def lines(entry: LedgerEntry, width: int) -> list[str]:
    """One line if it is narrow, with the reason running off to the right; from WRAPPED_WIDTH on as many lines as the
    reason takes.

    Below WIDE_WIDTH a count of ten thousand or more is in thousands ("48k").
    """
    if width < WIDE_WIDTH:
        figures = (
            f"{format.clock(entry.at_s)[: _clock_width(width)]} {entry.kind:<7} {turns_of(entry):<4}"
            f" {format.short_count(entry.tokens, signed=True):>5} {_short_took(entry):>5}"
            f" {format.short_count(entry.reused):>5}"
        )
        if width < WRAPPED_WIDTH:
            return [f"{figures}  {entry.why}".rstrip()]
        return _wrapped(f"{figures}  ", entry.why, width)
    turns, why = turns_of(entry), entry.why
    if len(turns) > 9:
        turns, why = "", f"turns {turns}; {why}"
    figures = (
        f"{format.clock(entry.at_s)} {entry.kind:<7} {turns:<9} {_whole(entry.tokens, '+,'):>9}"
        f" {_whole(entry.processed, ','):>9} {_whole(entry.reused, ','):>9} {_took(entry):>10}    "
    )
    return _wrapped(figures, why, width)


def _wrapped(figures: str, why: str, width: int) -> list[str]:
    """The reason in a column of its own after the figures."""
    first, *rest = textwrap.wrap(why, max(20, width - len(figures))) or [""]
    return [f"{figures}{first}".rstrip(), *(" " * len(figures) + line for line in rest)]


def sum_lines(sums: Mapping[str, Sum], width: int) -> list[str]:
    """All entries ever, by kind: how many, tokens, time."""
    found = [_sum(kind, sums[kind]) for kind in KINDS if kind in sums]
    each = max(1, width // _SUM)
    return ["".join(text.ljust(_SUM) for text in found[at : at + each]).rstrip() for at in range(0, len(found), each)]


def as_text(entries: Iterable[LedgerEntry]) -> str:
    """The entries to copy: a heading, then a line for each, with whole figures."""
    return "\n".join([heading(10_000), *(line for entry in entries for line in lines(entry, 10_000))])


def turns_of(entry: LedgerEntry) -> str:
    """ "1–3,7", with a star after a turn of which only the oldest tokens were evicted."""
    whole = format.turns(entry.turns).replace(", ", ",")
    partly = "" if entry.partly is None else f"{entry.partly}*"
    return ",".join(part for part in (whole, partly) if part)


def _sum(kind: str, total: Sum) -> str:
    tokens = total.processed if total.tokens is None else total.tokens
    count = "" if tokens is None else f"{_whole(tokens, '+,' if total.tokens is not None else ',')} tok"
    took = "" if total.ms is None else format.short_duration(total.ms / 1000)
    return f"{kind:<7} {total.times:>5,}× {count:>12} {took:>5}"


def _clock_width(width: int) -> int:
    return 8 if width >= NARROW_WIDTH else 5


def _took(entry: LedgerEntry) -> str:
    return format.DASH if entry.ms is None else format.duration(entry.ms / 1000)


def _short_took(entry: LedgerEntry) -> str:
    return format.short_duration(None if entry.ms is None else entry.ms / 1000)


def _whole(n: int | None, spec: str) -> str:
    return "" if n is None else f"{n:{spec}}"
