"""A reply on standard output, as it streams."""

from typing import TYPE_CHECKING, TextIO

from chatapp.text import visible

if TYPE_CHECKING:
    from chatapp.protocol.events import Text

THOUGHTS, ANSWER = "[thoughts]\n", "[answer]\n"
"""Lines of their own, before the first piece of each; only where the thoughts are shown and there are any."""


def reply_text(text: str, reasoning: str) -> str:
    r"""A whole reply with its thoughts, as it is printed.

    >>> reply_text("Yes.", "Is it?\n")
    '[thoughts]\nIs it?\n\n[answer]\nYes.'
    >>> reply_text("Yes.", "")
    'Yes.'
    """
    return f"{THOUGHTS}{reasoning.rstrip()}\n\n{ANSWER}{text}" if reasoning else text


class ShownReply:
    """Prints the pieces of one reply; of what the model thinks, nothing unless `thoughts` asks for it."""

    def __init__(self, out: TextIO, *, thoughts: bool) -> None:
        self._out, self._thoughts = out, thoughts
        self._in: str = ""
        """The heading over what was printed last."""
        self._begun = False
        self._at_start = True
        """What was printed last ended its line."""

    def show(self, piece: "Text") -> None:
        """Print a piece at once. OutputError and BrokenPipeError are raised as they come."""
        self._begun = True
        if self._thoughts and piece.reasoning:
            self._head(THOUGHTS)
            self._write(piece.reasoning)
        if piece.text:
            if self._in:
                self._head(ANSWER)
            self._write(piece.text)
        self._out.flush()

    def end(self) -> None:
        """End the last line, if there was a reply."""
        if self._begun:
            print(file=self._out)

    def _head(self, heading: str) -> None:
        if self._in != heading:
            if self._in:
                self._out.write("\n" if self._at_start else "\n\n")
            self._out.write(heading)
            self._in = heading

    def _write(self, text: str) -> None:
        self._out.write(visible(text))
        self._at_start = text.endswith("\n")
