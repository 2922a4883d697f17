"""Another llama.cpp, for processes that a test starts: its log in other words, functions that it does not export, or a
tensor with another layout. What is installed stays as it is: a `sitecustomize` in PYTHONPATH gets between.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

_SITE = """
import json, os, sys

if "chatapp.engine.worker" in sys.orig_argv:
    import ctypes

    other = json.loads(os.environ["SWACHAT_TEST_BUILD"])
    found = ctypes.CDLL.__getitem__

    def look_up(library, name):
        if name in other["without"]:
            raise AttributeError(name)
        return found(library, name)

    import llama_cpp

    ctypes.CDLL.__getitem__ = look_up
    for name in other["unbound"]:
        delattr(llama_cpp, name)
    log_set, held = getattr(llama_cpp, "llama_log_set", None), []

    def set_log(callback, user):
        @llama_cpp.llama_log_callback
        def reworded(level, text, user):
            for old, new in other["words"].items():
                text = text.replace(old.encode(), new.encode())
            callback(level, text, user)

        held.append((callback, reworded))
        log_set(reworded, user)

    if other["words"]:
        llama_cpp.llama_log_set = set_log
    if other["before"]:
        from chatapp.engine.native import ggml

        fields = list(ggml.Tensor._fields_)
        at = [name for name, *_ in fields].index(other["before"])
        fields.insert(at, ("new", ctypes.c_int64))
        ggml.Tensor = type("Tensor", (ctypes.Structure,), {"_fields_": fields})
"""


def other_build(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    words: Mapping[str, str] | None = None,
    without: Sequence[str] = (),
    unbound: Sequence[str] = (),
    before: str = "",
) -> None:
    """Engines started from now on meet a llama.cpp that logs the values of `words` for its keys, does not export the
    functions `without`, and has no 64 bits before a tensor's field `before` where this program expects some. Its
    binding lacks the names `unbound`.
    """
    (folder / "sitecustomize.py").write_text(_SITE)
    patch.setenv("PYTHONPATH", str(folder))
    build = {"words": dict(words or {}), "without": without, "unbound": unbound, "before": before}
    patch.setenv("SWACHAT_TEST_BUILD", json.dumps(build))
