"""Looking on while a decode runs, through a call that is no part of llama.cpp's C interface but exported."""

import ctypes
from typing import Any, Final

from chatapp.engine.native.llama import Context, ggml_library

_GET_SCHEDULER: Final = "_ZNK13llama_context9get_schedEv"
"""llama_context::get_sched() const"""


def can_watch() -> bool:
    """True where libllama exports the scheduler of a context, so that `watch` works."""
    return hasattr(ggml_library("llama"), _GET_SCHEDULER)


def watch(context: Context, callback: Any | None) -> None:
    """Let the context's next decode call `callback` about each node of its graph (ggml-backend.h,
    ggml_backend_sched_eval_callback); None ends that. A decode that builds its graph anew ends it too.
    """
    llama, base = ggml_library("llama"), ggml_library()
    scheduler_of = llama[_GET_SCHEDULER]
    scheduler_of.restype, scheduler_of.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    base.ggml_backend_sched_set_eval_callback.argtypes = [ctypes.c_void_p] * 3
    pointer = ctypes.cast(callback, ctypes.c_void_p) if callback is not None else None
    base.ggml_backend_sched_set_eval_callback(scheduler_of(context.handle), pointer, None)
