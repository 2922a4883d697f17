"""How many bytes a model and its cache will take, before anything is loaded; and the largest window that fits.

The shapes come from the GGUF's metadata, the rules from llama.cpp (llama-kv-cache.cpp, llama-kv-cache-iswa.cpp).
"""

from dataclasses import dataclass

PAD = 256
"""llama.cpp pads cell counts to this."""

# Bytes of one block and elements in it, by cache type (ggml-common.h).
TYPE_SIZE: dict[str, tuple[int, int]] = {
    "f32": (4, 1),
    "f16": (2, 1),
    "bf16": (2, 1),
    "q8_0": (34, 32),
    "q5_1": (24, 32),
    "q5_0": (22, 32),
    "q4_1": (20, 32),
    "q4_0": (18, 32),
    "iq4_nl": (18, 32),
}
ACTIVATION_BYTES = 4
MASK_BYTES = 2


@dataclass(frozen=True, slots=True)
class Layer:
    """What one layer stores for each token: widths of K and V in elements, and whether its window slides."""

    k_width: int
    v_width: int
    slides: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """A model as far as memory goes. `n_swa` is 0 where no layer slides."""

    weights_bytes: int
    layers: tuple[Layer, ...]
    n_swa: int
    n_vocab: int
    n_embd: int
    n_ff: int


@dataclass(frozen=True, slots=True)
class Bytes:
    """A plan, component by component."""

    weights: int
    kv: int
    kv_swa: int
    compute: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.kv + self.kv_swa + self.compute


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


def plan(
    shape: Shape, *, n_ctx: int, micro_batch: int, type_k: str, type_v: str, swa_full: bool, n_outputs: int = 1
) -> Bytes:
    """The plan for a window of `n_ctx` cells. `n_outputs` is how many tokens of a batch may ask for logits."""
    cells, sliding = padded(n_ctx), swa_cells(n_ctx, shape.n_swa, micro_batch, full=swa_full)
    kv = sum(_row(layer, type_k, type_v) * cells for layer in shape.layers if not layer.slides)
    kv_swa = sum(_row(layer, type_k, type_v) * sliding for layer in shape.layers if layer.slides)
    masked = cells + (sliding if kv_swa else 0)
    return Bytes(shape.weights_bytes, kv, kv_swa, _compute(shape, masked, micro_batch, n_outputs))


def largest_window(
    shape: Shape, budget_bytes: int, *, micro_batch: int, type_k: str, type_v: str, swa_full: bool, n_outputs: int = 1
) -> int:
    """The most cells (a multiple of 256) whose plan stays within `budget_bytes`; 0 where not even 256 fit."""

    def fits(cells: int) -> bool:
        size = plan(
            shape,
            n_ctx=cells,
            micro_batch=micro_batch,
            type_k=type_k,
            type_v=type_v,
            swa_full=swa_full,
            n_outputs=n_outputs,
        )
        return size.total <= budget_bytes

    low, high = 0, 1 << 24
    while low < high:  # the plan grows with the window: bisect in steps of PAD
        middle = padded((low + high + PAD) // 2 - PAD // 2)
        if fits(middle):
            low = middle
        else:
            high = middle - PAD
    return low


def _row(layer: Layer, type_k: str, type_v: str) -> int:
    """Bytes of one cell of one layer."""
    return _bytes(layer.k_width, type_k) + _bytes(layer.v_width, type_v)


def _bytes(elements: int, kind: str) -> int:
    size, block = TYPE_SIZE[kind]
    return -(-elements // block) * size


def _compute(shape: Shape, masked: int, micro_batch: int, n_outputs: int) -> int:
    """The graph's activations at their peak: either the logits, or a middle layer with its masks, whichever is larger.

    An estimate, fitted to load logs (within 25% there): ggml's allocator reuses buffers, and how well depends on the
    architecture. `masked` counts the cells of all masks: one for the global layers, one for the sliding ones.
    """
    logits = min(n_outputs, micro_batch) * (shape.n_vocab + 2 * shape.n_embd) * ACTIVATION_BYTES
    width = 4 * shape.n_embd + 3 * shape.n_ff
    middle = micro_batch * width * ACTIVATION_BYTES + micro_batch * masked * MASK_BYTES
    return max(logits, middle)
