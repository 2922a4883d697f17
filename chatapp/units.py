"""Sizes for people, the same in the chat, in every command and in the tools: binary, as llama.cpp's log writes them."""

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")


def significant(value: float) -> str:
    """Three digits at most, so that no figure looks more exact than it is: 7.42, 61.3, 1204."""
    for digits, limit in ((2, 9.995), (1, 99.95)):
        if abs(value) < limit:
            return f"{value:.{digits}f}".rstrip("0").rstrip(".")
    return f"{value:.0f}"


def size(n_bytes: int) -> str:
    """Bytes in the largest unit that gives at least 1: 98_362_432 is "93.8 MiB"."""
    value, unit = float(n_bytes), 0
    while abs(value) >= 1023.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{significant(value)} {_UNITS[unit]}"
