"""What pruning the cache of sliding layers costs and saves: a long text through a hybrid model, both ways.

Usage: python -m benchmarks.hybrid [MODEL] [--tokens N] [--ctx N] [--micro-batch N]

`swachat perplexity` streams the same text twice through the same window: with the sliding layers' cells pruned to their
window, as swachat does it, and with all of them kept (`--swa-full`). Both must reach the end of the text; the
perplexities and the bytes of the two KV caches, as llama.cpp wrote them to its load log, are compared.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.shared import private_home, show
from chatapp import models
from tests.support.engine.process import english

MIB = 2**20


def perplexity(path: Path, home: Path, args: argparse.Namespace, *, swa_full: bool) -> dict[str, Any]:
    """One stream, through the command that a person would use."""
    text, trace = home / "text", home / "trace"
    text.write_text(english(args.tokens))
    command = [sys.executable, "-m", "chatapp.cli", "perplexity", "--text", str(text), "--model", str(path), "--json"]
    command += ["--max-tokens", str(args.tokens), "--ctx", str(args.ctx), "--trace", str(trace), "--force"]
    command += ["--swa-full"] if swa_full else []
    environment = {**os.environ, "SWACHAT_CACHE_MICRO_BATCH": str(args.micro_batch)}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    events = (json.loads(line) for line in trace.read_text().splitlines())
    loaded = next(event for event in events if event["type"] == "Loaded")
    memory = loaded["measured"]
    return {
        "cells_swa": loaded["n_ctx_swa"],
        "kv_mib": (memory["kv_bytes"] + memory["kv_swa_bytes"]) / MIB,
        "tokens": result["tokens"],
        "stop_reason": result["stop_reason"],
        "shifts": result["shifts"],
        "perplexity": result["perplexity"],
        "tok_s": result["tok_s"],
    }


def main() -> int:
    """Measure, print, and return the exit code: 1 where a stream ended before its text."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="gemma3-270m")
    parser.add_argument("--tokens", type=int, default=30_000)
    parser.add_argument("--ctx", type=int, default=2048)
    parser.add_argument("--micro-batch", type=int, default=64)
    args = parser.parse_args()
    path = models.resolve(args.model)
    with private_home() as home:
        full, pruned = (perplexity(path, home, args, swa_full=swa_full) for swa_full in (True, False))
    rows = [
        {"cache": name, **row, "perplexity_ratio": row["perplexity"] / full["perplexity"]}
        for name, row in (("all cells kept", full), ("pruned", pruned))
    ]
    show(rows, "hybrid")
    return 0 if all(row["tokens"] == args.tokens - 1 for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
