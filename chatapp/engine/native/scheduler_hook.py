"""Observing a decode, through an exported function that is not part of llama.cpp's C interface."""

import ctypes
from collections.abc import Callable
from typing import Any, Final

from chatapp.engine.native.llama import Context
from chatapp.engine.native.symbols import GET_SCHEDULER, function, is_exported

_CALLBACK: Final = ctypes.CFUNCTYPE(ctypes.c_bool, ctypes.c_void_p, ctypes.c_bool, ctypes.c_void_p)


def node_callback(look: Callable[[int, bool, int | None], bool]) -> Any:
    """`look` for `watch` and for `Context` (ggml-backend.h, ggml_backend_sched_eval_callback): called with the address
    of a node and True, to ask whether it is wanted; again with False once a wanted node is computed. The third argument
    is unused. Keep a reference to the result for as long as it can be called.
    """
    return _CALLBACK(look)


def can_watch() -> bool:
    """True where libllama exports the scheduler of a context, which `watch` needs."""
    return is_exported(GET_SCHEDULER)


def watch(context: Context, callback: Any | None) -> None:
    """Make the context's next decode call `callback` (from `node_callback`) for each node of its graph; None removes
    it. A decode that rebuilds its graph removes it too.
    """
    pointer = ctypes.cast(callback, ctypes.c_void_p) if callback is not None else None
    scheduler = function(GET_SCHEDULER)(context.handle)
    function("ggml_backend_sched_set_eval_callback")(scheduler, pointer, None)
