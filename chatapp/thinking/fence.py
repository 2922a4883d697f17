"""Whether a text that grows is inside a code fence of Markdown."""

import re
from typing import Final

_OPENING: Final = re.compile(rb" {0,3}(?:(`{3,})[^`]*|(~{3,}).*)\r?")
_CLOSING: Final = re.compile(rb" {0,3}(`{3,}|~{3,})[ \t]*\r?")


class Fence:
    """Reads a text in pieces of any size."""

    def __init__(self) -> None:
        self._mark = b""
        """What opened the fence."""
        self._line = bytearray()

    def feed(self, data: bytes) -> None:
        """The text goes on with `data`."""
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._line += line
            self._mark = self._after_line()
            self._line.clear()
        self._line += rest

    @property
    def is_open(self) -> bool:
        """Whether what comes next is inside a fence, or on the line that opens one.

        >>> fence = Fence()
        >>> fence.feed(b"So:\\n```py\\na = ")
        >>> fence.is_open
        True
        >>> fence.feed(b"1\\n```")
        >>> fence.is_open
        False
        """
        return bool(self._after_line())

    def _after_line(self) -> bytes:
        """The fence's mark if the line ended here."""
        if not self._mark:
            opened = _OPENING.fullmatch(self._line)
            return bytes(opened[1] or opened[2]) if opened else b""
        closed = _CLOSING.fullmatch(self._line)
        return b"" if closed and closed[1].startswith(self._mark) else self._mark
