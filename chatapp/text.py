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


LONGEST_NAME = 200
"""Characters of a name, or of another short text from elsewhere, that are shown."""
LONGEST_PATH = 4096
"""Linux knows no longer ones: a path is shown whole, so that it can be copied."""
LONGEST_SENTENCE = 1000
"""Characters that are shown of a sentence that may quote something from elsewhere."""

_BREAKS = re.compile("[\n\t]+")


def one_line(text: str, most: int = LONGEST_NAME) -> str:
    """`text` from elsewhere as a part of one line: `visible`, line feeds and tabs as spaces, at most `most` characters.

    A name must not forge a line of a report, nor fill the screen. What is too long loses its middle: a sentence has its
    subject at one end and the reason at the other.

    >>> one_line("good\\nevict      yes")
    'good evict      yes'
    >>> one_line("x" * 30 + ": File name too long", 30)
    'xxxxxxxxxxxxxxx…ame too long'
    """
    if len(text) > 4 * most:  # before anything is done with a text of megabytes
        text = f"{text[: 2 * most]}{text[-2 * most :]}"
    line = _BREAKS.sub(" ", visible(text)).strip()
    half = most // 2
    return line if len(line) <= most else f"{line[:half]}…{line[half + 1 - most :]}"


def close_names(name: str, names: Iterable[str], most: int = 1) -> list[str]:
    """The names that a mistyped one most likely stands for, the most likely first; none where none is like it.

    >>> close_names("evcit", ["evict", "shift"])
    ['evict']
    """
    import difflib  # only a mistake needs it

    return difflib.get_close_matches(name, list(names), n=most)
