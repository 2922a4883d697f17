"""A line on standard error that is drawn over while work goes on, and goes when it is done."""

import sys


class TerminalLine:
    """One line; nothing where standard error is no terminal."""

    def __init__(self) -> None:
        self._shown = ""

    def show(self, text: str) -> None:
        """Draw it, if it reads differently."""
        if text != self._shown and sys.stderr.isatty():
            self._shown = text
            print(f"\r{text}\x1b[K", end="", file=sys.stderr, flush=True)

    def clear(self) -> None:
        """Take it away."""
        if self._shown:
            self._shown = ""
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
