"""Numbers as people read them. What is not known is a dash, never a guess."""

import math
import time
from collections.abc import Iterable, Sequence

from chatapp.text import close_names

DASH = "—"
"""Stands for a number that nobody measured."""

_BARS = "▁▂▃▄▅▆▇█"
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def count(n: int | None) -> str:
    """1204 as "1,204"."""
    return DASH if n is None else f"{n:,}"


def plural(n: int, one: str, many: str = "") -> str:
    """ "1 turn", "3 turns"; `many` where it is not `one` with an s."""
    return f"{n:,} {one}" if n == 1 else f"{n:,} {many or f'{one}s'}"


def significant(value: float) -> str:
    """Three digits at most, so that no figure looks more exact than it is: 7.42, 61.3, 1204."""
    for digits, limit in ((2, 9.995), (1, 99.95)):
        if abs(value) < limit:
            return f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return f"{value:.0f}"


def size(n_bytes: int | None) -> str:
    """Bytes in decimal units, as disks and GGUF files are labelled: 98_300_000 is "98.3 MB"."""
    if n_bytes is None:
        return DASH
    value, unit = float(n_bytes), 0
    while abs(value) >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    return f"{significant(value)} {_UNITS[unit]}"


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
    """A percentage that says 100% only when it is all and 0% only when it is nothing."""
    if whole <= 0:
        return DASH
    percent = round(100 * part / whole)
    if 0 < part < whole:
        percent = min(99, max(1, percent))
    return f"{percent}%"


def percent(part: float) -> str:
    """A measured part of one: "42%", "4.2%", "<0.01%"; 100% only when it is all, 0% only when it is nothing."""
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
    """The question whether another name was meant, where one is like it."""
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
    """The last `width` values as bars between zero and their largest: a bar half as high is half as fast."""
    shown = list(values)[-width:] if width > 0 else []
    top = max(shown, default=0.0)
    if top <= 0:
        return _BARS[0] * len(shown)
    return "".join(_BARS[max(0, math.ceil(value / top * len(_BARS)) - 1)] for value in shown)


def levels(values: Sequence[float]) -> str:
    """A bar for each value, from the lowest to the highest; equal values are bars of half the height.

    It tells how a value moves, not how large it is: what stands beside it has to say from where to where.
    """
    low, high = min(values, default=0.0), max(values, default=0.0)
    if high <= low:
        return _BARS[3] * len(values)
    return "".join(_BARS[round((value - low) / (high - low) * (len(_BARS) - 1))] for value in values)


def fraction_bar(part: float, whole: float, width: int) -> str:
    """The filled piece of a bar of `width` columns, to an eighth of a column; something is never drawn as nothing."""
    if whole <= 0 or part <= 0 or width <= 0:
        return ""
    eighths = min(width * 8, max(1, round(width * 8 * part / whole)))
    full, rest = divmod(eighths, 8)
    return "█" * full + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[rest]
