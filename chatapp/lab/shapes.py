"""The shape of a model, as far as its cache is concerned: which layers have a window, and how many bytes a cell takes.

Given as numbers, by the name of a published model, or read from a model file.
"""

from dataclasses import dataclass
from typing import Final

from chatapp.cache.memory_plan import Layer, kv_bytes
from chatapp.errors import ModelError
from chatapp.models import name_of
from chatapp.protocol.events import Examined

Windows = tuple[int | None, ...]
"""For each layer, from first to last: the width of its window, including the token itself; None where it is global."""


@dataclass(frozen=True)
class Shape:
    """One model. Bytes are those of one cell in all global layers, and in all layers with a window."""

    name: str
    windows: Windows
    global_cell_bytes: int
    sliding_cell_bytes: int

    @property
    def window(self) -> int | None:
        """The width of its windows; None where no layer has one."""
        return next((window for window in self.windows if window is not None), None)


@dataclass(frozen=True, slots=True)
class _Published:
    layers: int
    kv_heads: int
    head_dim: int
    window: int | None = None
    global_every: int | None = None


# From the models' published configurations (config.json).
_PUBLISHED: Final = {
    "llama-3.1-8b": _Published(32, 8, 128),
    "mistral-7b": _Published(32, 8, 128, 4096),
    "gemma-3-27b": _Published(62, 16, 128, 1024, 6),
    "gpt-oss-20b": _Published(24, 8, 64, 128, 2),
    "gpt-oss-120b": _Published(36, 8, 64, 128, 2),
}
NAMES: Final = tuple(_PUBLISHED)


def windows(layers: int, window: int | None, global_every: int | None = None) -> Windows:
    """Every `global_every`-th layer is global (Gemma 3: 6, gpt-oss: 2), the others have a window.

    >>> windows(4, 128, 2)
    (128, None, 128, None)
    """
    return tuple(None if global_every and layer % global_every == 0 else window for layer in range(1, layers + 1))


def published(name: str, type_k: str = "f16", type_v: str = "f16") -> Shape:
    """The model of NAMES with a cache of these types.

    >>> published("gemma-3-27b").global_cell_bytes / 10
    8192.0
    """
    known = _PUBLISHED[name]
    pattern = windows(known.layers, known.window, known.global_every)
    width = known.kv_heads * known.head_dim
    layers = [Layer(width, width, window is not None) for window in pattern]
    fixed, sliding = ([layer for layer in layers if layer.slides is slides] for slides in (False, True))
    return Shape(name, pattern, kv_bytes(fixed, 1, type_k, type_v), kv_bytes(sliding, 1, type_k, type_v))


def of_model(examined: Examined) -> Shape:
    """The shape of a model file according to llama.cpp, with `swa_full`. ModelError where layers keep no cells."""
    model, planned = examined.model, examined.planned
    if not examined.capability.evict.ok:
        raise ModelError(
            f"{model.path} has no KV cache to examine: {examined.capability.evict.why}",
            "Name a model with attention layers.",
        )
    return Shape(
        name_of(model.path),
        tuple(model.n_swa if slides else None for slides in examined.slides),
        (planned.kv_bytes or 0) // examined.n_ctx,
        (planned.kv_swa_bytes or 0) // examined.n_ctx,
    )
