"""A conversation of a million tokens: does anything drift, leak or slow down?

Usage: python -m benchmarks.soak [MODEL:TOKENS ...] [--ctx N] [--policy P] [--threads N] [--no-witness] [--branches]

MODEL is a name of tests/support/tiny_models.py, or whatever `swachat` takes. The same cycle of turns is gone through
again and again: questions of a few words, pages, a paste longer than the window, replies of 1 to 200 tokens, another
reply, a turn taken back, one pinned for a while, one recalled. Every cycle is the same work, so what costs more at the
end than at the beginning has grown. With --branches it also goes to other branches and on from there; the benchmark
then keeps every word to give them to the engine, and figures of time and memory are not the engine's alone.

- Mismatches: at every decode the ledger is held against the position in each of llama.cpp's cells (benchmarks/witness);
  after every turn the snapshot must say that ledger and llama.cpp agree. Any mismatch ends the run with exit code 1.
- Time is processor time of this process, with one thread for llama.cpp by default: another program on the machine then
  takes little of it, and no thread spins while it waits for another. The figure of a tenth of the run is the median of
  its cycles; the smallest is printed beside it, for noise only ever adds. The witness's own Python is left out; the
  lines that llama.cpp prints for it are not, so run with --no-witness for times to quote.
- Memory is the resident size of this process, engine and benchmark together, at the end of each cycle. The engine
  keeps the conversation as text, so that a turn can be brought back; `memory_but_text` is what grew besides.

The last tenth is compared with the second: the first one warms up and fills the window. Ctrl+C ends a run with the
cycle that it is in, and what was measured is printed; a second one ends it at once.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from statistics import median
from threading import Event
from types import FrameType

from benchmarks.shared import private_home, table
from benchmarks.turn_cycles import Cycle, Outcome, soak
from chatapp import models
from chatapp.protocol.values import CacheSettings
from tests.support.tiny_models import NAMES, tiny

RUNS = ["llama:1000000", "starter:100000"]
N_TENTHS = 10


@dataclass(frozen=True)
class Tenth:
    """A tenth of a run: ms of processor time for a token (median of its cycles, and smallest), and memory."""

    tenth: int
    cycles: int
    tokens: int
    prompt_ms: float
    reply_ms: float
    token_ms: float
    smallest_ms: float
    resident_mb: float
    text_mb: float


def tenths(cycles: Sequence[Cycle]) -> list[Tenth]:
    """The cycles in ten parts; those that ten does not divide are left out at the front."""
    size = len(cycles) // N_TENTHS
    first = len(cycles) - N_TENTHS * size
    # The mix of the whole run: where a model ends its replies early now and then, each cycle has another one.
    share = sum(cycle.reply_tok for cycle in cycles) / sum(cycle.tokens for cycle in cycles)
    found: list[Tenth] = []
    for i in range(N_TENTHS if size else 0):
        part = cycles[first + i * size : first + (i + 1) * size]
        each = [
            ((1 - share) * cycle.prompt_s / cycle.prompt_tok + share * cycle.reply_s / cycle.reply_tok) * 1000
            for cycle in part
        ]
        found.append(
            Tenth(
                tenth=i + 1,
                cycles=size,
                tokens=sum(cycle.tokens for cycle in part),
                prompt_ms=median(cycle.prompt_s / cycle.prompt_tok for cycle in part) * 1000,
                reply_ms=median(cycle.reply_s / cycle.reply_tok for cycle in part) * 1000,
                token_ms=median(each),
                smallest_ms=min(each),
                resident_mb=median(cycle.resident_bytes for cycle in part) / 1e6,
                text_mb=median(cycle.text_bytes for cycle in part) / 1e6,
            )
        )
    return found


def summary(name: str, outcome: Outcome, parts: Sequence[Tenth], wall_s: float) -> dict[str, object]:
    """The run in one line: the last tenth against the second, None where the run was too short for tenths."""

    def grown(figure: Callable[[Tenth], float]) -> float | None:
        return figure(parts[-1]) / figure(parts[1]) if parts else None

    return {
        "model": name,
        "tokens": outcome.tokens,
        "steps": outcome.steps,
        "evictions": outcome.evictions,
        "pins": outcome.pins,
        "recalls": outcome.recalls,
        "switches": outcome.switches,
        "cell_checks": outcome.checks,
        "mismatches": len(outcome.problems),
        "time": grown(lambda tenth: tenth.token_ms),
        "smallest_time": grown(lambda tenth: tenth.smallest_ms),
        "prompt_time": grown(lambda tenth: tenth.prompt_ms),
        "reply_time": grown(lambda tenth: tenth.reply_ms),
        "memory": grown(lambda tenth: tenth.resident_mb),
        "memory_but_text": grown(lambda tenth: tenth.resident_mb - tenth.text_mb),
        "ledger_runs": outcome.most_runs,
        "ledger_gone": outcome.most_gone,
        "wall_s": wall_s,
    }


@contextmanager
def ctrl_c() -> Generator[Event]:
    """An event that Ctrl+C sets; the second one interrupts as ever."""
    interrupted = Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupted.set()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def main(argv: Sequence[str] | None = None) -> int:
    """Run, print, and return the exit code: 1 where anything did not agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", default=RUNS, metavar="MODEL:TOKENS", help=f"default: {' '.join(RUNS)}")
    parser.add_argument("--ctx", type=int, default=512, help="window in tokens (512)")
    parser.add_argument("--policy", default="auto")
    parser.add_argument("--threads", type=int, default=1, help="llama.cpp's threads (1)")
    parser.add_argument("--no-witness", action="store_true", help="without llama.cpp's own list of cells: for times")
    parser.add_argument("--branches", action="store_true", help="go to other branches, too")
    args = parser.parse_args(argv)
    cache = CacheSettings(n_ctx=args.ctx, policy=args.policy)
    rows: list[dict[str, object]] = []
    details: list[list[dict[str, object]]] = []
    with private_home() as home, ctrl_c() as interrupted:
        for run in args.runs:
            name, _, tokens = run.rpartition(":")
            path = tiny(name, home) if name in NAMES else models.resolve(name)
            began = time.perf_counter()
            outcome = soak(
                path,
                int(tokens),
                cache,
                threads=args.threads,
                witness=not args.no_witness,
                branches=args.branches,
                stopped=interrupted.is_set,
            )
            for problem in outcome.problems:
                print(f"{name}: after {outcome.tokens} tokens: {problem}", file=sys.stderr)
            parts = tenths(outcome.cycles)
            print(f"{name}, window {args.ctx}")
            if parts:
                table([asdict(part) for part in parts])
            rows.append(summary(name, outcome, parts, time.perf_counter() - began))
            details.append([asdict(part) for part in parts])
            if interrupted.is_set():
                break
    table(rows)
    full = [{**row, "tenths": parts} for row, parts in zip(rows, details, strict=True)]
    print(json.dumps({"benchmark": "soak", "n_ctx": args.ctx, "witness": not args.no_witness, "rows": full}))
    return 1 if any(row["mismatches"] for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
