"""Keys or values as a cache stores them, read in place: float32, float16, bfloat16, or llama.cpp's blocks of q8_0."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from kernels import checks
from kernels.checks import require

if TYPE_CHECKING:
    from kernels.fast.jit.numbers import Rows

Kind: TypeAlias = Literal["F32", "F16", "BF16", "Q8_0"]
"""ggml's names."""
KINDS: tuple[Kind, ...] = ("F32", "F16", "BF16", "Q8_0")
Stored: TypeAlias = "NDArray[np.floating] | NDArray[np.uint16] | CacheRows"
"""What the kernels take for keys and values: an array `(n_kv_head, n_cell, dim)`, or the bytes of a cache. NumPy has no
bfloat16, so an array of uint16 is taken for its bits."""

Q8_0_VALUES = 32
_ITEMS: dict[Kind, np.dtype[Any]] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.int16),
    "BF16": np.dtype(np.uint16),
    "Q8_0": np.dtype(np.uint8),
}
_BLOCK = np.dtype([("scale", np.float16), ("values", np.int8, Q8_0_VALUES)])  # block_q8_0 in ggml-common.h


@dataclass(frozen=True)
class CacheRows:
    """The rows of `n_head` key heads and `n_cell` cells, each of `dim` numbers, somewhere in `data`.

    The row of a head and cell begins `head · head_bytes + cell · cell_bytes` after the beginning: of a K view of
    llama.cpp these are its nb[2] and nb[1]. ValueError where rows would end beyond `data` or lie across its items.

    Three cells of two heads, cell by cell, as llama.cpp lays them:

    >>> stored = np.arange(12, dtype=np.float16)
    >>> k = CacheRows(stored.view(np.uint8), "F16", n_head=2, n_cell=3, dim=2, head_bytes=4, cell_bytes=8)
    >>> k.floats().tolist()
    [[[0.0, 1.0], [4.0, 5.0], [8.0, 9.0]], [[2.0, 3.0], [6.0, 7.0], [10.0, 11.0]]]
    """

    data: NDArray[np.uint8]
    """Flat and contiguous; it is read in place, and must stay alive and unchanged meanwhile."""
    kind: Kind
    n_head: int
    n_cell: int
    dim: int
    head_bytes: int
    cell_bytes: int

    def __post_init__(self) -> None:
        checks.choice("kind", self.kind, KINDS)
        item = _ITEMS[self.kind].itemsize
        checks.blocks("data", self.data, 1)
        sizes = self.n_head, self.n_cell, self.dim, self.head_bytes, self.cell_bytes
        if {*map(type, sizes)} != {int}:
            for name, size in zip(("n_head", "n_cell", "dim", "head_bytes", "cell_bytes"), sizes, strict=True):
                checks.count(name, size, -checks.FAR, checks.FAR)
        require(self.data.ndim == 1 and self.data.flags.c_contiguous, "the bytes of a cache are flat and contiguous")
        require(self.n_head >= 1 and self.n_cell >= 0 and self.dim >= 1, "a cache has heads, and rows of numbers")
        require(self.head_bytes >= 0 and self.cell_bytes >= 0, "the rows of a cache go forward")
        require(
            self.head_bytes % item == 0 and self.cell_bytes % item == 0 and self.data.ctypes.data % item == 0,
            f"rows of {self.kind} begin at whole items of {item} bytes",
        )
        whole = self.kind != "Q8_0" or self.dim % Q8_0_VALUES == 0
        require(whole, f"{self.dim} numbers are no whole blocks of {Q8_0_VALUES}")
        end = (self.n_head - 1) * self.head_bytes + (self.n_cell - 1) * self.cell_bytes + self.row_bytes
        require(
            self.n_cell == 0 or end <= len(self.data), f"{len(self.data)} bytes end before the last row does ({end})"
        )

    @classmethod
    def of(cls, stored: Stored) -> "CacheRows":
        """An array `(n_head, n_cell, dim)`, in place; copied only if its rows are not contiguous, or in float64.

        >>> CacheRows.of(np.zeros((2, 3, 4), dtype=np.float16).swapaxes(0, 1)).cell_bytes
        24
        """
        if isinstance(stored, CacheRows):
            return stored
        checks.fits("stored", stored.shape, n_kv_head=None, n_cell=None, dim=None)
        kind, array = _plain(stored)
        if array.size == 0 or array.strides[2] != array.itemsize or min(array.strides) < 0:
            array = np.ascontiguousarray(array)
        if array.flags.c_contiguous:
            flat: NDArray[Any] = array.reshape(-1)  # as_strided takes ten times as long, as long as 100 cells
        else:
            last = sum((n - 1) * stride for n, stride in zip(array.shape, array.strides, strict=True))
            flat = as_strided(array, (last // array.itemsize + 1,), (array.itemsize,))
        return cls(flat.view(np.uint8), kind, *array.shape, *array.strides[:2])

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(n_head, n_cell, dim)`, as of an array."""
        return self.n_head, self.n_cell, self.dim

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        if self.kind == "Q8_0":
            return self.dim // Q8_0_VALUES * _BLOCK.itemsize
        return self.dim * _ITEMS[self.kind].itemsize

    def floats(self) -> NDArray[np.float32]:
        """All of it in float32, `(n_head, n_cell, dim)`: what the reference reads."""
        shape, strides = (self.n_head, self.n_cell, self.row_bytes), (self.head_bytes, self.cell_bytes, 1)
        rows = np.ascontiguousarray(as_strided(self.data, shape, strides))
        if self.kind == "F32":
            return rows.view(np.float32)
        if self.kind == "F16":
            return rows.view(np.float16).astype(np.float32)
        if self.kind == "BF16":
            return (rows.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
        blocks = rows.view(_BLOCK)
        values = blocks["scale"].astype(np.float32)[..., np.newaxis] * blocks["values"]
        return values.reshape(self.n_head, self.n_cell, self.dim)

    def compiled(self) -> "Rows":
        """The argument of a kernel."""
        from kernels.fast.jit.numbers import Rows

        item = _ITEMS[self.kind]
        views: dict[Kind, Any] = {kind: np.zeros(0, dtype) for kind, dtype in _ITEMS.items()}
        views[self.kind] = self.data[: len(self.data) // item.itemsize * item.itemsize].view(item)
        return Rows(
            kind=KINDS.index(self.kind),
            head_step=self.head_bytes // item.itemsize,
            cell_step=self.cell_bytes // item.itemsize,
            f32=views["F32"],
            f16=views["F16"],
            bf16=views["BF16"],
            q8_0=views["Q8_0"],
        )


def _plain(array: Any) -> tuple[Kind, NDArray[Any]]:
    if array.dtype == np.float16:
        return "F16", array
    if array.dtype == np.uint16:
        return "BF16", array
    checks.floats("stored", array)
    return "F32", array.astype(np.float32, copy=False)


def check_stored(name: str, rows: Any) -> None:
    """ValueError unless `CacheRows.of` can take the argument `name`, but for its shape."""
    if not (isinstance(rows, CacheRows) or (isinstance(rows, np.ndarray) and cast(Any, rows).dtype == np.uint16)):
        checks.floats(name, rows)
