"""Numbers for people. An unknown figure is a dash, never a guess."""

import math
import time
from collections.abc import Iterable, Sequence

from chatapp import units
from chatapp.text import close_names
from chatapp.units import significant

DASH = "—"
"""Stands for a figure that was not measured."""

_BARS = "▁▂▃▄▅▆▇█"


def count(n: int | None) -> str:
    """1204 as "1,204"."""
    return DASH if n is None else f"{n:,}"


def plural(n: int, one: str, many: str = "") -> str:
    """ "1 turn", "3 turns"; `many` if it is not `one` with an s."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {many or f'{one}s'}"


def size(n_bytes: int | None) -> str:
    """Bytes in binary units: 98_362_432 is "93.8 MiB"."""
    return DASH if n_bytes is None else units.size(n_bytes)


def duration(seconds: float | None) -> str:
    """ "0.4 ms", "312 ms", "1.9 s", "2 min 5 s"."""
    if seconds is None:
        return DASH
    if abs(seconds) < 0.9995:
        return f"{significant(seconds * 1000)} ms"
    if abs(seconds) < 99.95:
        return f"{significant(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes:,} min {rest} s"


def short_duration(seconds: float | None) -> str:
    """Five characters at most for a column: "0.4ms", "312ms", "1.9s", "125s"."""
    if seconds is None:
        return DASH
    value, unit = (seconds * 1000, "ms") if seconds < 0.9995 else (seconds, "s")
    return f"{value:.1f}{unit}" if value < 9.95 else f"{value:.0f}{unit}"


def short_count(n: int | None, *, signed: bool = False) -> str:
    """Five characters at most, the sign included: 9,999 is "9999", 48,213 is "48k", 1,204,000 is "1.2M"."""
    if n is None:
        return ""
    sign = "+" if signed and n >= 0 else ""
    if abs(n) < 10_000:
        return f"{sign}{n}"
    if abs(n) < 999_500:
        return f"{sign}{n / 1000:.0f}k"
    return f"{sign}{n / 1e6:.1f}M" if abs(n) < 9.95e6 else f"{sign}{n / 1e6:.0f}M"


def rate(tok_s: float | None) -> str:
    """Tokens per second, without the unit."""
    return DASH if tok_s is None else significant(tok_s)


def share(part: int, whole: int) -> str:
    """A percentage that is 100% only for all and 0% only for nothing."""
    if whole <= 0:
        return DASH
    percent = round(100 * part / whole)
    if 0 < part < whole:
        percent = min(99, max(1, percent))
    return f"{percent}%"


def percent(part: float) -> str:
    """A measured part of one: "42%", "4.2%", "<0.01%"; 100% only for all, 0% only for nothing."""
    if part <= 0 or part >= 1:
        return "0%" if part <= 0 else "100%"
    value = min(99.0, 100 * part)
    if value < 0.01:
        return "<0.01%"
    digits = 0 if value >= 9.95 else 1 if value >= 0.95 else 2
    return f"{value:.{digits}f}%"


def turns(numbers: Iterable[int]) -> str:
    """[1, 2, 3, 7] as "1–3, 7"."""
    ranges: list[tuple[int, int]] = []
    for number in sorted(set(numbers)):
        if ranges and number == ranges[-1][1] + 1:
            ranges[-1] = (ranges[-1][0], number)
        else:
            ranges.append((number, number))
    return ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in ranges)


def nearest(name: str, names: Iterable[str], otherwise: str) -> str:
    """ "Did you mean X?" if one of `names` is similar, else `otherwise`."""
    near = close_names(name, names)
    return f"Did you mean {near[0]}?" if near else otherwise


def turns_named(numbers: Sequence[int]) -> str:
    """[3] as "turn 3", [1, 2, 3, 7] as "turns 1–3, 7"."""
    return f"{'turn' if len(set(numbers)) == 1 else 'turns'} {turns(numbers)}"


def age(seconds: float) -> str:
    """How long ago: "just now", "5 min ago", "3 h ago", "12 days ago"."""
    for unit_s, unit in ((86400, "day"), (3600, "h"), (60, "min")):
        if seconds >= unit_s:
            n = int(seconds // unit_s)
            return f"{plural(n, unit) if unit == 'day' else f'{n} {unit}'} ago"
    return "just now"


def clock(at_s: float) -> str:
    """Unix time as local "04:31:07"."""
    return time.strftime("%H:%M:%S", time.localtime(at_s))


def bars(values: Sequence[float], width: int) -> str:
    """The last `width` values as bars between zero and the largest: a bar half as high is half as large."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    if top <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[max(0, math.ceil(value / top * len(_BARS)) - 1)] for value in shown)


def levels(values: Sequence[float]) -> str:
    """A bar for each value, scaled from the lowest to the highest; equal values are bars of half the height.

    It shows how a value moves, not how large it is: write the range beside it.
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high <= low:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def fraction_bar(part: float, whole: float, width: int) -> str:
    """The filled part of a bar of `width` columns, to an eighth of a column; above zero it is never empty."""
    if whole <= 0 or part <= 0 or width <= 0:
        return ""
    eighths = min(width * 8, max(1, round(width * 8 * part / whole)))
    full, rest = divmod(eighths, 8)
    return "█" * full + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]
