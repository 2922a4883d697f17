"""StreamingLLM's table (arXiv 2309.17453, tables 1 and 2) on a model of yours, by `swachat perplexity`.

Usage: python -m benchmarks.streaming_table [MODEL] [--text FILE] [--tokens N] [--windows N ...] [--ways WAY ...]
           [--every N]

A way is `dense` (the whole text in one window, the bound), `window`, `recompute`, or a number of sinks. The text is
the prose of Python's own reference, which differs a little between versions of Python, unless a file is named.

`recompute` costs a whole window for each token, so it scores one token in N; `sampled` is every way's perplexity on
just those tokens, and `nats` how much more a token costs there than under `recompute` in the same window, on average,
with the standard error of that mean. A text streams in chunks of an eighth of the window (256 at most), so
`ms_per_token` is that of reading, not of writing a reply; times compare within one run alone.
"""

import argparse
import json
import math
import pydoc_data.topics
import re
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.shared import private_home, show
from chatapp import models

WAYS = ["dense", "window", "recompute", "0", "1", "2", "4", "8"]


def prose() -> str:
    """Plain English: the words of Python's reference, without the marks of its markup."""
    return " ".join(re.sub(r"[^A-Za-z,.;' ]+", " ", " ".join(pydoc_data.topics.topics.values())).split())


def scored(model: Path, text: Path, way: str, *, n_ctx: int, tokens: int, every: int) -> tuple[dict[str, Any], Any]:
    """What `swachat perplexity` says of one way, and the loss of each token it scored, in nats."""
    trace = text.with_suffix(".trace")
    policy = ["--policy", "sinks", "--sinks", way] if way.isdigit() else ["--policy", way]
    words = ["--model", str(model), "--text", str(text), "--max-tokens", str(tokens), "--ctx", str(n_ctx)]
    sampled = ["--every", str(every)] if way == "recompute" else []
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "chatapp.cli",
            "perplexity",
            *words,
            *policy,
            *sampled,
            "--trace",
            str(trace),
            "--force",
            "--json",
        ],
        stdout=subprocess.PIPE,
        check=True,
    )
    events = [json.loads(line) for line in trace.read_text().splitlines()]
    losses = [loss for event in events if event["type"] == "Scored" for loss in event["losses"]]
    return json.loads(done.stdout), losses


def rows_of(model: Path, text: Path, n_ctx: int, ways: list[str], *, tokens: int, every: int) -> list[dict[str, Any]]:
    """The rows of one window."""
    rows: list[dict[str, Any]] = []
    baseline: list[float] = []
    for way in sorted(ways, key=lambda way: way != "recompute"):
        result, losses = scored(model, text, way, n_ctx=n_ctx, tokens=tokens, every=every)
        whole = way != "recompute"
        sample = losses[every - 1 :: every] if whole else losses
        baseline = baseline if whole else sample
        more = [ours - theirs for ours, theirs in zip(sample, baseline, strict=True)] if whole and baseline else []
        row = {
            "way": f"{way} sinks" if way.isdigit() else way,
            "window": result["n_ctx"],
            "perplexity": result["perplexity"] if whole else "-",
            "sampled": math.exp(statistics.fmean(sample)),
            "sample": len(sample),
            "nats": statistics.fmean(more) if more else "-",
            "nats_error": statistics.stdev(more) / math.sqrt(len(more)) if len(more) > 1 else "-",
            "ms_per_token": 1000 / result["tok_s"],
            "evicted": result["evicted_tokens"],
            "shifts": result["shifts"],
        }
        print(json.dumps(row), file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--tokens", type=int, default=8192)
    parser.add_argument("--windows", type=int, nargs="+", default=[256, 512, 1024, 2048, 4096])
    parser.add_argument("--ways", nargs="+", default=WAYS, choices=WAYS)
    parser.add_argument("--every", type=int, default=128)
    args = parser.parse_args()
    model = models.resolve(args.model)
    bounded = [way for way in args.ways if way != "dense"]
    with private_home() as home:
        text = home / "text.txt"
        text.write_text(args.text.read_text(encoding="utf-8") if args.text else prose(), encoding="utf-8")
        rows: list[dict[str, Any]] = []
        if "dense" in args.ways:
            rows += rows_of(model, text, args.tokens, ["dense"], tokens=args.tokens, every=args.every)
        windows: list[int] = args.windows if bounded else []
        for n_ctx in windows:
            rows += rows_of(model, text, n_ctx, bounded, tokens=args.tokens, every=args.every)
    show(rows, "streaming_table")


if __name__ == "__main__":
    main()
