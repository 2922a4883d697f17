"""Windowed attention beside ggml, PyTorch and the roofs of the machine: a prompt, one token, a probe, a curve.

Usage: python -m benchmarks.kernels [--rounds N] [--most TOKENS] [--masked-most TOKENS]

PyTorch is no dependency: where it is not installed its rows say so. Rounds are interleaved, so that a busy machine
hurts all alike; the best of each counts. The roofs: reading an array that no cache holds, on all threads; and NumPy's
own matrix product. `of_roof` is the multiply-adds that the window needs (for one token: the bytes of the cells that are
seen) over the time, as a share of it. Before anything is timed, every way has to give the same output.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

import kernels
from benchmarks.ggml_attention import GgmlAttention
from benchmarks.shared import show
from kernels import fast, sinks_and_window
from kernels.mass import attention_mass

WINDOW = 512
PROMPT_HEADS, PROMPT_DIM = 4, 64
TOKEN_WINDOW, TOKEN_HEADS, TOKEN_KV_HEADS, TOKEN_DIM = 4096, 32, 8, 128  # a layer of Llama 3 8B
FLEX_BLOCK = 128
"""FlexAttention's own; windows and prompts are whole blocks."""
TOKEN_LAYERS = 10
"""Caches that take turns: 160 MiB, so that none of it stays in the processor."""

Run = Callable[[], object]


@dataclass(frozen=True)
class Way:
    """One way to do a task, ready to run; or why it cannot."""

    name: str
    run: Run | None
    why_not: str = ""


@dataclass(frozen=True)
class Task:
    """What several ways do: `work` in multiply-adds or bytes, against the roof of the same unit a second."""

    name: str
    n_tok: int
    work: float
    roof: float
    ways: list[Way]


def rows_of(task: Task, rounds: int) -> list[dict[str, Any]]:
    """Time each way, the best of `rounds`, one of each in every round."""
    best = dict.fromkeys((way.name for way in task.ways), float("inf"))
    for _ in range(rounds):
        for way in task.ways:
            if way.run is not None:
                start = time.perf_counter()
                way.run()
                best[way.name] = min(best[way.name], time.perf_counter() - start)
    ours = best[task.ways[0].name]
    return [
        {
            "task": task.name,
            "n_tok": task.n_tok,
            "way": way.name,
            "ms": None if way.run is None else best[way.name] * 1e3,
            "us_per_tok": None if way.run is None else best[way.name] * 1e6 / task.n_tok,
            "of_roof": None if way.run is None else task.work / best[way.name] / task.roof,
            "ours_is_faster": None if way.run is None else best[way.name] / ours,
            "note": way.why_not,
        }
        for way in task.ways
    ]


@numba.njit(parallel=True, fastmath=True)
def _sum(x: Any) -> float:
    total = 0.0
    for i in numba.prange(len(x)):
        total += x[i]
    return total


def roofs(rounds: int) -> tuple[float, float]:
    """Bytes a second that all threads read from memory; multiply-adds a second of NumPy's matrix product."""
    x, a = np.ones(64 * 2**20, np.float32), np.ones((2048, 2048), np.float32)
    _sum(x)
    reading = rows_of(Task("read", 1, x.nbytes, 1.0, [Way("read", lambda: _sum(x))]), rounds)
    product = rows_of(Task("product", 1, 2048.0**3, 1.0, [Way("product", lambda: a @ a)]), rounds)
    return reading[0]["of_roof"], product[0]["of_roof"]


def draw(n_head: int, n_kv_head: int, n_query: int, n_key: int, dim: int) -> tuple[NDArray[np.float32], ...]:
    random = np.random.default_rng(0)
    sizes = ((n_head, n_query), (n_kv_head, n_key), (n_kv_head, n_key))
    return tuple(random.standard_normal((*size, dim), np.float32) for size in sizes)


def torch_way(name: str, prepare: Callable[[Any], Run], expected: NDArray[np.float32]) -> Way:
    """A way through PyTorch, run once to compile and to check; a row that says why where it cannot be had."""
    try:
        torch: Any = import_module("torch")
    except ModuleNotFoundError:
        return Way(name, None, "not installed")
    try:
        run = prepare(torch)
        check(name, np.asarray(run(), np.float32)[0], expected)
    except (RuntimeError, ImportError, NotImplementedError) as error:
        return Way(name, None, str(error).splitlines()[0][:80])
    return Way(name, run)


def check(name: str, output: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    error = float(np.abs(output - expected).max())
    if not error < 5e-3:  # float16's rounding of keys, values and weights
        raise SystemExit(f"{name} computes something else: it is {error:.3g} off")


def prompt(n_tok: int, masked_most: int, peak: float) -> tuple[Task, Callable[[], None]]:
    """A prompt under a window, float32. What needs a mask of n x n runs up to `masked_most` tokens."""
    q, k, v = draw(PROMPT_HEADS, PROMPT_HEADS, n_tok, n_tok, PROMPT_DIM)
    tokens = np.arange(n_tok)

    def ours() -> NDArray[np.float32]:
        return fast.attend_window(q, k, v, tokens, tokens, window=WINDOW)

    expected = ours()
    ways = [Way("kernels.fast", ours)]
    close: Callable[[], None] = lambda: None  # noqa: E731
    too_much = f"only up to {masked_most} tokens: the mask has n x n cells"
    if n_tok <= masked_most:
        mask = sinks_and_window(tokens, tokens, WINDOW, 0)
        ggml = GgmlAttention(q, k, v, mask, numba.get_num_threads())
        ggml.run()
        check("ggml", ggml.output(), expected)
        ways += [Way("ggml flash attention", ggml.run)]
        ways += [torch_way("torch SDPA, mask", lambda torch: sdpa(torch, q, k, v, mask), expected)]
        close = ggml.close
    else:
        ways += [Way("ggml flash attention", None, too_much), Way("torch SDPA, mask", None, too_much)]
    ways += [torch_way("torch FlexAttention", lambda torch: flex(torch, q, k, v), expected)]
    seen = float(np.minimum(tokens + 1, WINDOW).sum())
    return Task("prompt, window 512", n_tok, 2 * PROMPT_HEADS * PROMPT_DIM * seen, peak, ways), close


def sdpa(torch: Any, q: NDArray[Any], k: NDArray[Any], v: NDArray[Any], mask: NDArray[np.bool_]) -> Run:
    parts = [torch.from_numpy(part)[None] for part in (q, k, v)]
    bias = torch.from_numpy(mask)
    attention = torch.nn.functional.scaled_dot_product_attention
    return lambda: attention(*parts, attn_mask=bias, enable_gqa=len(q) != len(k))


def flex(torch: Any, q: NDArray[Any], k: NDArray[Any], v: NDArray[Any]) -> Run:
    module: Any = import_module("torch.nn.attention.flex_attention")

    def seen(_batch: Any, _head: Any, i: Any, j: Any) -> Any:
        return (j <= i) & (j > i - WINDOW)

    # By hand: create_block_mask would write down the whole mask first, 4 GiB for 64K tokens.
    n_tok = q.shape[1]
    n_block, reach = n_tok // FLEX_BLOCK, WINDOW // FLEX_BLOCK
    whole = [np.arange(max(i - reach + 1, 0), i) for i in range(n_block)]  # each query sees each key
    in_part = [np.array([i - reach, i] if i >= reach else [i]) for i in range(n_block)]

    def listed(blocks: list[NDArray[Any]]) -> tuple[Any, Any]:
        """How many key blocks each block of queries meets, and which; FlexAttention wants room for all."""
        index = np.zeros((1, 1, n_block, n_block), np.int32)
        for i, some in enumerate(blocks):
            index[0, 0, i, : len(some)] = some
        counts = np.array([[[len(some) for some in blocks]]], np.int32)
        return torch.from_numpy(counts), torch.from_numpy(index)

    blocks = module.BlockMask.from_kv_blocks(
        *listed(in_part),
        *listed(whole),
        BLOCK_SIZE=FLEX_BLOCK,
        mask_mod=seen,
        seq_lengths=(n_tok, n_tok),
    )
    attention = torch.compile(module.flex_attention)
    parts = [torch.from_numpy(part)[None] for part in (q, k, v)]
    return lambda: attention(*parts, block_mask=blocks)


def token(bandwidth: float) -> tuple[Task, Callable[[], None]]:
    """One token of a layer after another, float16, each on a full ring of 4,096 cells."""
    q, k, v = draw(TOKEN_HEADS, TOKEN_KV_HEADS, 1, TOKEN_WINDOW, TOKEN_DIM)
    layers = [(k.astype(np.float16), v.astype(np.float16)) for _ in range(TOKEN_LAYERS)]
    now = np.array([3 * TOKEN_WINDOW])
    ring = now[0] - (now[0] - np.arange(TOKEN_WINDOW)) % TOKEN_WINDOW
    seen = sinks_and_window(now, ring, TOKEN_WINDOW, 0)

    def ours() -> list[NDArray[np.float32]]:
        return [fast.attend_window(q, *layer, now, ring, window=TOKEN_WINDOW) for layer in layers]

    expected = ours()[0]
    ggml = [GgmlAttention(q, *layer, seen, numba.get_num_threads()) for layer in layers]

    def theirs() -> None:
        for layer in ggml:
            layer.run()

    theirs()
    check("ggml", ggml[0].output(), expected)

    def torch_layers(torch: Any) -> Run:
        half = q.astype(np.float16)
        runs = [sdpa(torch, half, *layer, seen) for layer in layers]

        def all_layers() -> Any:
            return [run() for run in runs][0]  # noqa: RUF015 - each has to run

        return all_layers

    ways = [
        Way("kernels.fast", ours),
        Way("ggml flash attention", theirs),
        torch_way("torch SDPA, mask", torch_layers, expected),
    ]
    read = float(TOKEN_LAYERS * (layers[0][0].nbytes + layers[0][1].nbytes))

    def close() -> None:
        for layer in ggml:
            layer.close()

    return Task("one token, 4096 cells, 10 layers", TOKEN_LAYERS, read, bandwidth, ways), close


def probe(bandwidth: float) -> Task:
    """What one token looks at in a layer of SmolLM2-135M with 1,024 cells, straight from the cache's float16."""
    q, k, _ = draw(9, 3, 1, 1024, 64)
    keys = np.ascontiguousarray(k.swapaxes(0, 1).astype(np.float16)).swapaxes(0, 1)
    seen, turns = np.ones(1024, dtype=np.bool_), np.arange(1024) // 100
    options: dict[str, Any] = {"groups": turns, "n_group": 11, "n_top": 8}
    ways = [
        Way("kernels.fast", lambda: fast.attention_mass(q[:, 0], keys, seen, **options)),
        Way("reference", lambda: attention_mass(q[:, 0], keys, seen, **options)),
    ]
    return Task("probe of a layer, 1024 cells", 1, float(keys.nbytes), bandwidth, ways)


def curve(peak: float) -> Task:
    """Influence through 24 layers of windows of 1,024 tokens."""
    layers, window = 24, 1024
    ways = [
        Way("kernels.fast", lambda: fast.influence(layers, window, 0.9)),
        Way("reference", lambda: kernels.influence(layers, window, 0.9)),
    ]
    additions = 2.0 * window * layers * (layers + 1) / 2
    return Task("influence, 24 layers of 1024", layers, additions, peak, ways)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--most", type=int, default=65536, help="the longest prompt")
    parser.add_argument("--masked-most", type=int, default=16384, help="the longest prompt with a mask of n x n")
    args = parser.parse_args()
    if not fast.available():
        raise SystemExit(fast.why())
    bandwidth, peak = roofs(args.rounds)
    print(f"roofs: {bandwidth / 1e9:.1f} GB/s read, {2 * peak / 1e9:.0f} GFLOP/s, {numba.get_num_threads()} threads")
    rows: list[dict[str, Any]] = []
    n_tok = 1024
    while n_tok <= args.most:
        task, close = prompt(n_tok, args.masked_most, peak)
        rows += rows_of(task, args.rounds)
        close()
        n_tok *= 4 if n_tok < 4096 else 2
    task, close = token(bandwidth)
    rows += rows_of(task, args.rounds)
    close()
    for task in (probe(bandwidth), curve(peak)):
        for way in task.ways[:1]:
            if way.run is not None:
                way.run()  # compiled before it is timed
        rows += rows_of(task, args.rounds)
    rows.append(
        {**dict.fromkeys(rows[0]), "task": "roofs", "note": f"{bandwidth / 1e9:.2f} GB/s, {2 * peak / 1e9:.1f} GFLOP/s"}
    )
    show(rows, "kernels")


if __name__ == "__main__":
    main()
