"""A decode that another thread can end early."""

import ctypes
from typing import Any

from chatapp.engine.native.binding import lib, strlen_address


class AbortFlag:
    """The request to abort the decode in progress of one context.

    llama.cpp asks before each operation of the graph, on the processor only. What it calls is strlen, on a text that is
    empty until a stop is requested: Python would have to take its lock each time.
    """

    def __init__(self, context: Any) -> None:
        """`context` is the llama_context pointer."""
        self._context = context
        self._text = ctypes.create_string_buffer(2)
        self._enabled = False

    @property
    def requested(self) -> bool:
        """True after a request that was not forgotten."""
        return self._text[0] != b"\0"

    def request(self) -> None:
        """Abort the decode in progress, if that is enabled. May be called from any thread."""
        self._text[0] = b"1"

    def forget(self) -> None:
        """Forget earlier requests."""
        self._text[0] = b"\0"

    def enable(self, enabled: bool) -> None:
        """Whether the next decodes end with status 2 soon after `request`, with none of their tokens in the cache."""
        if enabled == self._enabled:
            return
        self._enabled = enabled
        asked = strlen_address() if enabled else 0
        text = ctypes.cast(self._text, ctypes.c_void_p)
        lib.llama_set_abort_callback(self._context, lib.ggml_abort_callback(asked), text)
