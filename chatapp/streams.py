"""Standard input, output and error as a script may leave them: closed, full, or with nobody who reads.

Python prints nothing at all where standard output is closed, prints errors to standard output where standard error is,
and ends with a traceback where one of them is full.
"""

import io
import os
import sys
from typing import Any, TextIO

from chatapp.errors import OutputError


def take() -> None:
    """Replace `sys.stdin`, `sys.stdout` and `sys.stderr` for the rest of the program.

    Standard output then raises OutputError where it cannot be written, once, and BrokenPipeError as before. What cannot
    be written to standard error is dropped: there is nowhere to say so. Closed input is empty.
    """
    output_is_open = sys.stdout is not None
    for number in range(3):
        _open_if_closed(number)
    if sys.stdin is None:
        sys.stdin = os.fdopen(0, closefd=False)
    sys.stdout = _text(_Output(is_open=output_is_open), sys.stdout)
    sys.stderr = _text(_Complaints(), sys.stderr, line_buffering=True)


def _open_if_closed(number: int) -> None:
    """Open the null device there: else the next file that is opened, such as the database, would be standard output."""
    try:
        os.fstat(number)
    except OSError:
        os.open(os.devnull, os.O_RDWR)  # the lowest free number


def _text(raw: io.FileIO, before: TextIO | None, *, line_buffering: bool = False) -> io.TextIOWrapper:
    """A text stream like the one `before`, which does not fail on a character that its encoding lacks."""
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding="utf-8" if before is None else before.encoding,
        errors="backslashreplace",
        line_buffering=line_buffering or raw.isatty(),
    )


class _Output(io.FileIO):
    """Standard output. After it has failed it drops everything: Python flushes once more at the end."""

    def __init__(self, *, is_open: bool) -> None:
        super().__init__(1, "wb", closefd=False)
        self._is_open = is_open
        self._failed = False

    def write(self, data: Any, /) -> int:
        """Write, or raise."""
        if self._failed:
            return len(memoryview(data))
        self._failed = True
        if not self._is_open:
            raise OutputError("Standard output is closed.")
        try:
            written = super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"Standard output cannot be written: {error.strerror or error}.") from error
        self._failed = False
        return written


class _Complaints(io.FileIO):
    """Standard error."""

    def __init__(self) -> None:
        super().__init__(2, "wb", closefd=False)

    def write(self, data: Any, /) -> int:
        """Write what can be written."""
        try:
            return super().write(data)
        except OSError:
            return len(memoryview(data))
