"""The memory that the cache takes as a conversation grows: all tokens, pruned windows, and a window of our own."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.text import Text

from chatapp.cache.memory_plan import padded, swa_cells
from chatapp.lab.shapes import Shape

MIB: Final = 2**20
FEWEST: Final = 1024


@dataclass(frozen=True)
class Growth:
    """Bytes of one model's KV cache for each length of the conversation."""

    shape: Shape
    full: list[int]
    """Every layer keeps every token."""
    pruned: list[int]
    """Layers with a window keep that plus a micro-batch, in llama.cpp's cells; `full` where none slides."""
    bounded: list[int] | None
    """`pruned`, within a window of `ctx` cells, as swachat keeps it. None where no `ctx` was given."""

    @property
    def slides(self) -> bool:
        """True where some layer has a window."""
        return self.shape.window is not None


@dataclass(frozen=True)
class Column:
    """Bytes of one way of keeping a model's cache."""

    name: str
    sizes: list[int]


@dataclass(frozen=True)
class Memory:
    """The growth of several models over the same `contexts`, in tokens."""

    contexts: list[int]
    growths: list[Growth]
    ctx: int | None
    micro_batch: int
    type_k: str
    type_v: str

    def numbers(self) -> dict[str, Any]:
        """Bytes by model and length."""
        return {
            "ctx": self.ctx,
            "micro_batch": self.micro_batch,
            "type_k": self.type_k,
            "type_v": self.type_v,
            "contexts_tok": self.contexts,
            "models": [
                {
                    "name": growth.shape.name,
                    "layers": len(growth.shape.windows),
                    "global_layers": growth.shape.windows.count(None),
                    "window": growth.shape.window,
                    "global_cell_bytes": growth.shape.global_cell_bytes,
                    "sliding_cell_bytes": growth.shape.sliding_cell_bytes,
                    "full_bytes": growth.full,
                    "pruned_bytes": growth.pruned,
                    "bounded_bytes": growth.bounded,
                }
                for growth in self.growths
            ],
        }

    def lines(self, room: int) -> list[Text]:
        """A table for each model, in MiB."""
        del room
        lines = [Text(f"KV cache in MiB, with {self.type_k} keys and {self.type_v} values")]
        for growth in self.growths:
            columns = self.columns(growth)
            lines += [Text(), Text(_described(growth.shape), "bold")]
            lines.append(Text(f"{'tokens':>12}" + "".join(f"  {column.name:>18}" for column in columns)))
            for place, context in enumerate(self.contexts):
                sizes = "".join(f"  {column.sizes[place] / MIB:>18,.1f}" for column in columns)
                lines.append(Text(f"{context:>12,}{sizes}"))
        return lines

    def columns(self, growth: Growth) -> list[Column]:
        """The columns to show for a model."""
        columns = [Column("every token", growth.full)]
        if growth.slides:
            columns.append(Column("windows pruned", growth.pruned))
        if growth.bounded is not None:
            columns.append(Column(f"--ctx {self.ctx}", growth.bounded))
        return columns


def memory(
    shapes: Sequence[Shape], *, up_to: int, ctx: int | None, micro_batch: int, type_k: str, type_v: str
) -> Memory:
    """The cache of each of `shapes` from 1,024 tokens, doubling, up to `up_to`, which is always the last.

    `ctx` is the window that a conversation is kept in, None for none; `micro_batch` is what llama.cpp adds to a window.
    The types are those that the shapes were created with.
    """
    doubled = [FEWEST << power for power in range(max(0, (up_to // FEWEST).bit_length()))]
    contexts = sorted({*(context for context in doubled if context < up_to), up_to})
    growths = [
        Growth(
            shape=shape,
            full=[_full(shape, context) for context in contexts],
            pruned=[_pruned(shape, context, micro_batch) for context in contexts],
            bounded=None if ctx is None else [_pruned(shape, min(context, ctx), micro_batch) for context in contexts],
        )
        for shape in shapes
    ]
    return Memory(contexts, growths, ctx, micro_batch, type_k, type_v)


def _full(shape: Shape, context: int) -> int:
    return padded(context) * (shape.global_cell_bytes + shape.sliding_cell_bytes)


def _pruned(shape: Shape, context: int, micro_batch: int) -> int:
    if shape.window is None:
        return _full(shape, context)
    cells = swa_cells(context, shape.window, micro_batch, full=False)
    return padded(context) * shape.global_cell_bytes + cells * shape.sliding_cell_bytes


def _described(shape: Shape) -> str:
    layers, n_global = len(shape.windows), shape.windows.count(None)
    if shape.window is None:
        return f"{shape.name}: {layers} layers, all global"
    return f"{shape.name}: {layers} layers, {layers - n_global} with a window of {shape.window:,}, {n_global} global"
