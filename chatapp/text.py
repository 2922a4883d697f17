"""Text from models, people, files and metadata, made safe to show in a terminal; and names that were mistyped."""

import re
from collections.abc import Iterable

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 (except tab and newline), DEL, C1: a terminal obeys them
    "\u202a-\u202e\u2066-\u2069"  # bidirectional overrides and isolates: they reorder what a person reads
    "\u2028\u2029"  # line and paragraph separators
    "\ud800-\udfff]"  # lone surrogates cannot be written as UTF-8
)


def _picture(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)
    if code == 0x7F:
        return "\u2421"
    return "\ufffd"


def visible(text: str) -> str:
    """`text` with every character that a terminal would obey replaced by a picture of it (ESC becomes ␛).

    Tab and newline stay; carriage returns of CRLF line ends go. So do joiners and the marks for left-to-right and
    right-to-left, which Persian, Hebrew and emoji are written with. The result is never longer than `text`.
    """
    return _UNSAFE.sub(_picture, text.replace("\r\n", "\n"))


def close_names(name: str, names: Iterable[str], most: int = 1) -> list[str]:
    """The names that a mistyped one most likely stands for, the most likely first; none where none is like it.

    >>> close_names("evcit", ["evict", "shift"])
    ['evict']
    """
    import difflib  # only a mistake needs it

    return difflib.get_close_matches(name, list(names), n=most)
