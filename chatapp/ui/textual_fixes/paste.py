"""A paste is text, whatever it contains.

Textual 8.2.8 looks for keys inside a bracketed paste too: after a pasted ESC it reads the next 32 characters as a key
sequence, drops them from the paste and emits them as keys. A pasted Ctrl+Q would quit, and a line end would send. It
can be removed when Textual takes everything up to the end of a paste as text.
"""

from collections.abc import Iterable

from textual import events
from textual._xterm_parser import XTermParser
from textual.drivers import linux_driver
from textual.message import Message

_START, _END = "\x1b[200~", "\x1b[201~"
_STAND_IN = "\udc1b"
"""Stands for a pasted ESC on its way through Textual's parser. No terminal can send it: it is not a character."""


class PasteParser(XTermParser):
    """Textual's parser of terminal input, which recognizes nothing in a paste but its end."""

    def __init__(self, debug: bool = False) -> None:
        super().__init__(debug)
        self._pasting = False
        self._tail = ""
        """The last characters: outside a paste, to find its beginning; inside, those that may begin its end."""

    def feed(self, data: str) -> Iterable[Message]:
        """See XTermParser; "" is the end of the input."""
        guarded = self._guarded(data)
        if data and not guarded:
            return
        for message in super().feed(guarded):
            if isinstance(message, events.Paste):
                message.text = message.text.replace(_STAND_IN, "\x1b")
            yield message

    def _guarded(self, data: str) -> str:
        """`data` with a stand-in for each ESC inside a paste. What may be the end of the paste is held back."""
        out: list[str] = []
        for character in data:
            self._tail += character
            if not self._pasting:
                out.append(character)
                self._tail = self._tail[-len(_START) :]
                if self._tail == _START:
                    self._pasting, self._tail = True, ""
            elif self._tail == _END:
                out.append(_END)
                self._pasting, self._tail = False, ""
            elif not _END.startswith(self._tail):
                # Not the end after all; only an ESC that has just come may still begin it.
                kept = "\x1b" if character == "\x1b" else ""
                out.append(self._tail.removesuffix(kept).replace("\x1b", _STAND_IN))
                self._tail = kept
        return "".join(out)


def install() -> None:
    """Have Textual's driver use it."""
    linux_driver.XTermParser = PasteParser  # pyright: ignore[reportPrivateImportUsage] - its only way in
