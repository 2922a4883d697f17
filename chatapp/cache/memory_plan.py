"""How many bytes a model and its cache will take, and the largest window that fits.

The cells follow llama.cpp (llama-kv-cache.cpp, llama-kv-cache-iswa.cpp). What the weights and the computation take
depends on the machine and on the graph of each architecture, and is passed in (chatapp.engine).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

PAD = 256
"""llama.cpp pads cell counts to this."""
MOST_CELLS = 1 << 24
"""The largest window."""
BLOCK = 32
"""Elements per block of the quantized cache types."""

# Bytes of one block and elements in it, by cache type (ggml-common.h).
TYPE_SIZE: dict[str, tuple[int, int]] = {
    "f32": (4, 1),
    "f16": (2, 1),
    "bf16": (2, 1),
    "q8_0": (34, BLOCK),
    "q5_1": (24, BLOCK),
    "q5_0": (22, BLOCK),
    "q4_1": (20, BLOCK),
    "q4_0": (18, BLOCK),
    "iq4_nl": (18, BLOCK),
}


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer stores for each token: widths of K and V in elements, and whether its window slides."""

    k_width: int
    v_width: int
    slides: bool


@dataclass(frozen=True, slots=True)
class Bytes:
    """A plan, component by component. `kv_swa` is None where no layer slides."""

    weights: int
    kv: int
    kv_swa: int | None
    compute: int

    @property
    def total(self) -> int:
        """The sum."""
        return self.weights + self.kv + (self.kv_swa or 0) + self.compute


def quantized(kind: str) -> bool:
    """True for a cache type that stores its elements in blocks."""
    return TYPE_SIZE[kind][1] > 1


def padded(cells: int) -> int:
    """`cells` as llama.cpp allocates them.

    >>> padded(512), padded(600)
    (512, 768)
    """
    return -(-cells // PAD) * PAD


def swa_cells(n_ctx: int, n_swa: int, micro_batch: int, *, full: bool) -> int:
    """Cells of the sliding layers: PAD(min(n_ctx, n_swa + n_ubatch), 256); n_ctx with `full` (llama_kv_cache_iswa).

    >>> swa_cells(4096, 512, 64, full=False)
    768
    """
    return padded(n_ctx) if full else padded(min(padded(n_ctx), n_swa + micro_batch))


def kv_bytes(layers: Sequence[Layer], cells: int, type_k: str, type_v: str) -> int:
    """Bytes of `cells` cells in these layers.

    >>> kv_bytes([Layer(192, 192, False)] * 30, 4096, "f16", "f16") / 2**20
    90.0
    """
    return cells * sum(_bytes(layer.k_width, type_k) + _bytes(layer.v_width, type_v) for layer in layers)


def largest_window(total: Callable[[int], int], budget_bytes: int, most: int = MOST_CELLS) -> int:
    """The most cells (a multiple of 256, at most `most`) for which `total(cells)` stays within the budget; 0 where not
    even 256 do.

    `total` must not shrink as the window grows.
    """
    low, high = 0, most // PAD
    while low < high:
        middle = (low + high + 1) // 2
        if total(middle * PAD) <= budget_bytes:
            low = middle
        else:
            high = middle - 1
    return low * PAD


def _bytes(elements: int, kind: str) -> int:
    size, block = TYPE_SIZE[kind]
    return -(-elements // block) * size
