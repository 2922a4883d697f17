"""llama.cpp's log: written to standard error, and captured or muted inside a block."""

import ctypes
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

from chatapp.engine.native.binding import lib

DEBUG: Final = 1
"""Of enum ggml_log_level."""


class NativeLog:
    """The log of the process."""

    def __init__(self) -> None:
        self._captured: list[str] | None = None
        self._muted = False

    def write(self, level: int, text: bytes) -> None:
        """Take a piece of the log; a line may come in several."""
        if level == DEBUG or self._muted:
            return
        sys.stderr.buffer.write(text)
        sys.stderr.buffer.flush()
        if self._captured is not None:
            self._captured.append(text.decode(errors="replace"))

    @contextmanager
    def captured(self) -> Generator[list[str]]:
        """Capture the pieces that are written inside the block, without debug lines."""
        self._captured = []
        try:
            yield self._captured
        finally:
            self._captured = None

    @contextmanager
    def muted(self) -> Generator[None]:
        """Log nothing inside the block."""
        self._muted = True
        try:
            yield
        finally:
            self._muted = False


@contextmanager
def whole_log() -> Generator[list[str]]:
    """Capture what llama.cpp logs inside the block, debug lines included; it is not written to standard error."""
    pieces: list[str] = []

    @lib.llama_log_callback
    def keep(_level: int, text: bytes, _user: ctypes.c_void_p) -> None:
        pieces.append(text.decode(errors="replace"))

    before, user = lib.llama_log_callback(), ctypes.c_void_p()
    binding: Any = lib  # the stub does not take byref()
    binding.llama_log_get(ctypes.byref(before), ctypes.byref(user))
    lib.llama_log_set(keep, ctypes.c_void_p(0))
    try:
        yield pieces
    finally:
        lib.llama_log_set(before, user)
