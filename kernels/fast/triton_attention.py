"""Attention over sinks and a window on a GPU, in Triton (the extra `triton`); the tensors are PyTorch's.

`plan` decides on the host which keys each block of queries has to meet, `launch` runs the kernels on whatever Triton
takes for a tensor, and `attend_window` is both for PyTorch's. Importing this module imports NumPy alone.
"""

import math
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kernels import checks
from kernels.arrays import Ints

BLOCK_ROWS = 64
"""Rows of a block: queries of a prompt, times the heads that share a key head."""
FEWEST_ROWS = 16
"""What Triton's dot product needs at least."""
BLOCK_KEYS = 64
PART_KEYS = 512
"""Keys that are worth a program of their own when there are few queries."""
MOST_PARTS = 32


@dataclass(frozen=True)
class Plan:
    """What each program of a launch has to do."""

    first: NDArray[np.int32]
    """`(n_block,)`: the first key that a block of queries can see, beside the sinks."""
    last: NDArray[np.int32]
    """`(n_block,)`: one past the last."""
    sink_keys: int
    """Keys at the beginning that every later query sees."""
    rows: int
    parts: int
    """A power of two: programs that share the keys of a block."""
    part_keys: int


def plan(group: int, query_positions: Ints, key_positions: Ints, *, window: int, n_sink: int) -> Plan:
    """Which keys each block of `rows` has to meet, for `group` query heads on each key head.

    Keys in the order of their positions are cut to what the block can see; on a ring, out of order, all are met and the
    mask decides. A few queries leave most of a GPU idle, so their keys are shared among several programs.

    >>> blocks = plan(1, np.arange(200), np.arange(200), window=50, n_sink=4)
    >>> blocks.first.tolist(), blocks.last.tolist(), blocks.sink_keys, blocks.parts
    ([0, 15, 79, 143], [64, 128, 192, 200], 4, 1)
    >>> plan(4, np.array([5000]), np.arange(5001), window=4096, n_sink=0).parts
    8
    """
    n_query, n_key = len(query_positions), len(key_positions)
    rows = BLOCK_ROWS if n_query * group > FEWEST_ROWS else FEWEST_ROWS
    n_block = -(-n_query * group // rows)
    first, last, sink_keys = np.zeros(n_block, np.int32), np.full(n_block, n_key, np.int32), 0
    if not (key_positions[1:] < key_positions[:-1]).any():
        sink_keys = int(np.searchsorted(key_positions, n_sink))
        oldest = np.searchsorted(key_positions, query_positions - window, side="right")
        newest = np.searchsorted(key_positions, query_positions, side="right")
        for block in range(n_block):
            here = slice(block * rows // group, -(-(block + 1) * rows // group))
            first[block], last[block] = oldest[here].min(), newest[here].max()
    longest = int((last - first).max(initial=0))
    parts = min(1 << max(-(-longest // PART_KEYS) - 1, 0).bit_length(), MOST_PARTS) if n_block == 1 else 1
    part_keys = -(-longest // (parts * BLOCK_KEYS)) * BLOCK_KEYS
    return Plan(first=first, last=last, sink_keys=sink_keys, rows=rows, parts=parts, part_keys=part_keys)


def launch(
    work: Plan,
    q: Any,
    k: Any,
    v: Any,
    query_positions: Any,
    key_positions: Any,
    first: Any,
    last: Any,
    sink_logits: Any,
    out: Any,
    part_out: Any,
    part_sums: Any,
    *,
    window: int,
    n_sink: int,
    scale: float,
    softcap: float | None,
) -> None:
    """Run `work` on tensors that Triton can read: contiguous, in the shapes of `attend_window`, positions in int32.

    `out (n_head, n_query, v_dim)`, `part_out (parts, *out)` and `part_sums (parts, n_head, n_query, 2)` are float32;
    the last two are not touched with one part. `sink_logits (n_head,)` may be None.
    """
    kernels: Any = import_module("kernels.fast.triton_kernels")
    (n_head, n_query, head_dim), (n_kv_head, n_key, v_dim) = q.shape, v.shape
    v_padded = max(1 << (v_dim - 1).bit_length(), FEWEST_ROWS)
    kernels.attend_block[(len(work.first), n_kv_head, work.parts)](
        q,
        k,
        v,
        query_positions,
        key_positions,
        first,
        last,
        q if sink_logits is None else sink_logits,
        out if work.parts == 1 else part_out,
        part_sums,
        n_head,
        n_kv_head,
        n_query,
        n_key,
        head_dim,
        v_dim,
        scale,
        softcap or 0.0,
        window,
        n_sink,
        work.sink_keys,
        work.part_keys,
        LEARNED=sink_logits is not None,
        CAP=softcap is not None,
        PARTS=work.parts,
        ROWS=work.rows,
        KEYS=BLOCK_KEYS,
        DIM=max(1 << (head_dim - 1).bit_length(), FEWEST_ROWS),
        V_DIM=v_padded,
    )
    if work.parts > 1:
        n_row = n_head * n_query
        kernels.add_parts[(n_row,)](part_out, part_sums, out, n_row, v_dim, PARTS=work.parts, V_DIM=v_padded)


def attend_window(
    q: Any,
    k: Any,
    v: Any,
    query_positions: Ints,
    key_positions: Ints,
    *,
    window: int,
    n_sink: int = 0,
    scale: float | None = None,
    softcap: float | None = None,
    sink_logits: Any = None,
) -> Any:
    """`kernels.fast.attend_window` for PyTorch's tensors on a GPU: `(n_head, n_query, v_dim)` in float32.

    `q`, `k` and `v` are all float32, float16 or bfloat16; the positions stay on the host. ModuleNotFoundError without
    PyTorch or Triton, ValueError for shapes that do not fit.
    """
    torch: Any = import_module("torch")
    checks.heads(q.shape, k.shape, v.shape)
    (n_head, n_query, head_dim), (n_kv_head, n_key, _) = q.shape, k.shape
    checks.require(q.dtype == k.dtype == v.dtype, f"{q.dtype}, {k.dtype} and {v.dtype} cannot meet")
    checks.scores(n_head, scale, softcap)
    if sink_logits is not None:
        checks.fits("sink_logits", sink_logits.shape, n_head=n_head)
    query_positions = checks.integers("query_positions", query_positions, n_query=n_query)
    key_positions = checks.integers("key_positions", key_positions, n_key=n_key)
    window, n_sink = checks.tokens("window", window, 1), checks.tokens("n_sink", n_sink)
    work = plan(n_head // n_kv_head, query_positions, key_positions, window=window, n_sink=n_sink)

    for name, at in (("query_positions", query_positions), ("key_positions", key_positions)):
        checks.require(
            at.size == 0 or int(at.max()) < 2**31, f"{name} must be below 2^31, as the kernels count in int32"
        )

    def put(array: NDArray[Any]) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array, np.int32)).to(q.device)

    def room(*shape: int) -> Any:
        return torch.zeros(shape, dtype=torch.float32, device=q.device)

    out = room(n_head, n_query, v.shape[2])
    if out.numel() == 0:
        return out
    launch(
        work,
        q.contiguous(),
        k.contiguous(),
        v.contiguous(),
        put(query_positions),
        put(key_positions),
        put(work.first),
        put(work.last),
        None if sink_logits is None else sink_logits.to(device=q.device, dtype=torch.float32).contiguous(),
        out,
        room(work.parts, *out.shape) if work.parts > 1 else out,
        room(work.parts, n_head, n_query, 2) if work.parts > 1 else out,
        window=window,
        n_sink=n_sink,
        scale=1 / math.sqrt(head_dim) if scale is None else scale,
        softcap=softcap,
    )
    return out
