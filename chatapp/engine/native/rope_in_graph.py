"""Whether cached keys have RoPE, read from the compute graph that ggml prints (GGML_SCHED_DEBUG=2).

A shift applies RoPE to cached keys once more. That is right only where the keys were cached straight after RoPE. Some
architectures have layers without RoPE (SmolLM3, Llama 4, Command R7B) or normalize the keys after it (Hunyuan);
llama.cpp rotates theirs all the same, silently. The metadata does not show the difference, the graph does.
"""

import os
import re
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Final

from chatapp.engine.native.load_log import unread

SWITCH: Final = "GGML_SCHED_DEBUG"
# ggml-backend.cpp, ggml_backend_sched_print_assignments: the widths are fixed, names are cut to 20 characters.
_TENSOR: Final = r"(.{20}) \(.{5}\) \[.{5} .{8}\]"
_NODE: Final = re.compile(rf"^node #[ \d]+ \((.{{10}})\): {_TENSOR} use=\d+,c=\d:(.*)$", re.MULTILINE)
_SOURCE: Final = re.compile(rf" {_TENSOR}")
_CACHE: Final = re.compile(r"cache_k_l(\d+)")


@contextmanager
def printed_graphs() -> Generator[None]:
    """Make contexts that are created inside the block print their graphs to the log, at debug level."""
    before = os.environ.get(SWITCH)
    os.environ[SWITCH] = "2"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SWITCH]
        else:
            os.environ[SWITCH] = before


def check(log: str) -> None:
    """BuildError where `log` has no node that stores keys, as in the graph of any model with cells: another ggml prints
    its graphs differently.
    """
    operations = ((match[1].strip(), _name(match[2])) for match in _NODE.finditer(log))
    if not any(operation == "SET_ROWS" and _CACHE.match(name) for operation, name in operations):
        sample = "node # 7 (  SET_ROWS):     cache_k_l0 (view) (  32K) [  CPU         ] use=1,c=1: ..."
        raise unread("the nodes of a graph", sample)


def keys_are_roped(log: str, layers: Iterable[int]) -> bool:
    """True where in each of these layers RoPE is the last operation on a key before it is cached.

    Keys of which only a part has positions (multi-head latent attention) are a concatenation with a part that has RoPE.
    """
    made: dict[str, str] = {}
    roped: dict[int, bool] = {}
    for match in _NODE.finditer(log):
        operation, name = match[1].strip(), _name(match[2])
        sources = [_name(source) for source in _SOURCE.findall(match[3])]
        stored = _CACHE.match(name) if operation == "SET_ROWS" else None
        if stored and sources:
            layer = int(stored[1])
            roped[layer] = roped.get(layer, True) and made.get(sources[0]) == "ROPE"
        elif operation == "CONCAT" and any(made.get(source) == "ROPE" for source in sources):
            made[name] = "ROPE"
        else:
            made[name] = operation
    return all(roped.get(layer, False) for layer in layers)


def _name(printed: str) -> str:
    """A tensor's name without the suffix that ggml adds for views."""
    return printed.strip().partition(" (")[0]
