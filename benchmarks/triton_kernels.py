"""On a GPU: check the Triton kernels against the reference, and time them beside PyTorch's attention.

Usage: python -m benchmarks.triton_kernels [--rounds N] [--most TOKENS]

It needs PyTorch with its own Triton and a GPU, and of this project NumPy alone. Nothing is claimed without a run: what
cannot run here has a row that says why. Times are of the GPU's own clock, the best of the rounds, compilation left out;
`tflop_s` counts what the window needs, `gb_s` the keys and values that are seen.
"""

import argparse
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared import show
from kernels import attend_online, sinks_and_window
from kernels.fast import triton_attention

WINDOW, N_SINK = 512, 4
HEADS, KV_HEADS, DIM = 32, 8, 128  # a layer of Llama 3 8B
TOKEN_WINDOW = 4096

Run = Callable[[], Any]


def gpu() -> tuple[Any, str]:
    """PyTorch, and why nothing can run, empty where it can."""
    try:
        torch: Any = importlib.import_module("torch")
        importlib.import_module("triton")
    except ModuleNotFoundError as error:
        return None, f"{error.name} is not installed"
    return torch, "" if torch.cuda.is_available() else "no GPU"


def check(torch: Any) -> float:
    """The largest error over shapes, windows, sinks and types, as a share of what rounding allows; above 1 it stops."""
    random, worst = np.random.default_rng(0), 0.0
    for n_query, n_key in ((300, 300), (1, 3000), (20, 532)):
        for n_head, n_kv_head, dim in ((4, 4, 64), (8, 2, 128), (9, 3, 80)):
            for window, n_sink, softcap, learned in ((100, 4, None, False), (4096, 0, 5.0, True)):
                for kind in (torch.float32, torch.float16, torch.bfloat16):
                    drawn = (
                        random.standard_normal((n, m, dim), np.float32)
                        for n, m in shapes(n_head, n_kv_head, n_query, n_key)
                    )
                    q, k, v = (torch.from_numpy(part).to("cuda", kind) for part in drawn)
                    keys = np.arange(n_key)
                    logits = torch.linspace(-1, 1, n_head) if learned else None
                    options: dict[str, Any] = {"window": window, "n_sink": n_sink, "softcap": softcap}
                    out = triton_attention.attend_window(q, k, v, keys[-n_query:], keys, sink_logits=logits, **options)
                    wide = [part.float().cpu().numpy() for part in (q, k, v)]
                    exact = reference(
                        wide, keys[-n_query:], keys, None if logits is None else logits.numpy(), **options
                    )
                    error = float(np.abs(out.cpu().numpy() - exact).max())
                    allowed = 8 * torch.finfo(kind).eps * float(np.abs(wide[2]).max())
                    worst = max(worst, error / allowed)
                    if not error <= allowed:
                        case = (
                            f"{kind}, {n_query} queries, {n_key} keys, {n_head}/{n_kv_head} heads of {dim}, {options}"
                        )
                        raise SystemExit(f"wrong by {error:.3g}, more than {allowed:.3g}: {case}")
    return worst


def shapes(n_head: int, n_kv_head: int, n_query: int, n_key: int) -> tuple[tuple[int, int], ...]:
    return (n_head, n_query), (n_kv_head, n_key), (n_kv_head, n_key)


def reference(
    parts: list[NDArray[Any]],
    queries: NDArray[np.int64],
    keys: NDArray[np.int64],
    logits: NDArray[Any] | None,
    *,
    window: int,
    n_sink: int,
    softcap: float | None,
) -> NDArray[np.float64]:
    q, k, v = parts

    def rule(i: NDArray[np.int64], j: NDArray[np.int64]) -> NDArray[np.bool_]:
        return sinks_and_window(i, j, window, n_sink)

    return attend_online(q, k, v, rule, queries, keys, block=512, softcap=softcap, sink_logits=logits)


def time_ms(torch: Any, run: Run, rounds: int) -> float:
    """The best of `rounds`, by the GPU's events, after two runs that compile and warm."""
    for _ in range(2):
        run()
    best = float("inf")
    for _ in range(rounds):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        run()
        end.record()
        torch.cuda.synchronize()
        best = min(best, start.elapsed_time(end))
    return best


def row(task: str, n_tok: int, way: str, ms: float | None, work: float, read: float, note: str = "") -> dict[str, Any]:
    return {
        "task": task,
        "n_tok": n_tok,
        "way": way,
        "ms": ms,
        "tflop_s": None if ms is None else work / ms / 1e9,
        "gb_s": None if ms is None else read / ms / 1e6,
        "note": note,
    }


def compare(torch: Any, task: str, n_query: int, n_key: int, window: int, rounds: int) -> list[dict[str, Any]]:
    """Triton, SDPA with a mask and FlexAttention on the same float16 tensors, each checked against the first."""
    parts = [
        torch.randn(n, m, DIM, device="cuda", dtype=torch.float16) for n, m in shapes(HEADS, KV_HEADS, n_query, n_key)
    ]
    keys = np.arange(n_key)
    queries = keys[-n_query:]
    seen = float(np.minimum(queries + 1, window + N_SINK).sum())
    work, read = 4 * HEADS * DIM * seen, 2 * 2 * KV_HEADS * DIM * float(min(window + N_SINK, n_key))
    attend_window: Any = triton_attention.attend_window
    expected = attend_window(*parts, queries, keys, window=window, n_sink=N_SINK)
    launch = prepared(torch, parts, queries, keys, window)
    rows = [row(task, n_query, "triton", time_ms(torch, launch, rounds), work, read)]
    for name, prepare in (("torch SDPA, mask", sdpa), ("torch FlexAttention", flex)):
        try:
            run = prepare(torch, parts, queries, n_key, window)
            error = float((run()[0].float() - expected).abs().max())
            ms, note = time_ms(torch, run, rounds), "" if error < 1e-2 else f"differs by {error:.2g}"
        except (RuntimeError, ImportError, NotImplementedError) as problem:
            ms, note = None, str(problem).splitlines()[0][:80]
        rows.append(row(task, n_query, name, ms, work, read, note))
    return rows


def prepared(torch: Any, parts: list[Any], queries: Any, keys: Any, window: int) -> Run:
    """The launch alone: a model makes its positions and plan once for all layers."""
    work = triton_attention.plan(HEADS // KV_HEADS, queries, keys, window=window, n_sink=N_SINK)
    on_gpu = [torch.from_numpy(np.asarray(x, np.int32)).cuda() for x in (queries, keys, work.first, work.last)]
    out = torch.empty(HEADS, len(queries), DIM, device="cuda")
    part_out = torch.empty(work.parts, *out.shape, device="cuda")
    sums = torch.empty(work.parts, HEADS, len(queries), 2, device="cuda")
    options: dict[str, Any] = {"window": window, "n_sink": N_SINK, "scale": DIM**-0.5, "softcap": None}
    launch: Any = triton_attention.launch
    return lambda: launch(work, *parts, *on_gpu, None, out, part_out, sums, **options)


def sdpa(torch: Any, parts: list[Any], queries: Any, n_key: int, window: int) -> Run:
    i, j = torch.from_numpy(queries).cuda()[:, None], torch.arange(n_key, device="cuda")[None]
    mask = (j <= i) & ((j > i - window) | (j < N_SINK))
    attention = torch.nn.functional.scaled_dot_product_attention
    return lambda: attention(*(part[None] for part in parts), attn_mask=mask, enable_gqa=True)


def flex(torch: Any, parts: list[Any], queries: Any, n_key: int, window: int) -> Run:
    module: Any = importlib.import_module("torch.nn.attention.flex_attention")
    before = int(queries[0])

    def seen(_batch: Any, _head: Any, i: Any, j: Any) -> Any:
        return (j <= i + before) & ((j > i + before - window) | (j < N_SINK))

    blocks = module.create_block_mask(seen, None, None, len(queries), n_key, device="cuda")
    attention = torch.compile(module.flex_attention)
    return lambda: attention(*(part[None] for part in parts), block_mask=blocks, enable_gqa=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--most", type=int, default=65536, help="the longest prompt")
    args = parser.parse_args()
    torch, why_not = gpu()
    prompts = [n for n in (1024, 4096, 16384, 65536) if n <= args.most]
    if why_not:
        show([row("all", 0, "triton", None, 0, 0, why_not)], "triton_kernels")
        return
    print(f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}")
    print(f"checked against the reference: the largest error is {check(torch):.2f} of what rounding allows")
    rows: list[dict[str, Any]] = []
    for n_tok in prompts:
        rows += compare(torch, f"prompt, window {WINDOW}", n_tok, n_tok, WINDOW, args.rounds)
    rows += compare(torch, f"one token, window {TOKEN_WINDOW}", 1, TOKEN_WINDOW + N_SINK, TOKEN_WINDOW, args.rounds)
    show(rows, "triton_kernels")


if __name__ == "__main__":
    main()
