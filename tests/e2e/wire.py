"""What a program has written to its terminal: control sequences apart from text."""

import codecs
import re

CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)"  # OSC
    r"|\x1b[PX^_][^\x1b]*\x1b\\"  # DCS, SOS, PM, APC
    r"|\x1b.?|\r\n|[\x00-\x1f\x7f-\x9f]",  # any other escape or control character
    re.DOTALL,
)

KNOWN = re.compile(
    r"\x1b\[[0-9;]*[mH]"  # colours and styles, the cursor's place
    r"|\x1b\[\?(?:7|25|1000|1003|1004|1006|1015|1049|2004|2048)[hl]"  # modes: see `modes`
    r"|\x1b\[>[0-9]+u|\x1b\[<u"  # the keyboard protocol, on and off
    r"|\x1b\[\?(?:2026|2048)\$p"  # questions: synchronized output, resizing in band
    r"|\x1b\]22;[a-z]+\x07"  # the mouse pointer's shape
    r"|\r\n"
)
"""What Textual writes, and nothing else: no clipboard, no title, no clearing, no link, no C1."""


def foreign_controls(raw: bytes) -> list[str]:
    """The control sequences in `raw` that Textual does not write by itself: they came out of some text."""
    return [found for found in CONTROL.findall(_decoded(raw)) if not KNOWN.fullmatch(found)]


def plain(raw: bytes) -> str:
    """The text in `raw`, in the order in which it was written."""
    return CONTROL.sub("", _decoded(raw))


def modes(raw: bytes) -> set[int]:
    """The terminal's private modes that are on at the end of `raw`; 25 and 7 (cursor, wrapping) are on before it."""
    on = {7, 25}
    for mode, change in re.findall(r"\x1b\[\?(\d+)([hl])", _decoded(raw)):
        on = on | {int(mode)} if change == "h" else on - {int(mode)}
    return on


def _decoded(raw: bytes) -> str:
    """`raw` as text. It may end in the middle of a character or a sequence; what is no UTF-8 elsewhere is an error."""
    return re.sub(r"\x1b(?:\[[0-?]*)?\Z", "", codecs.getincrementaldecoder("utf-8")().decode(raw))
