"""`swachat perplexity`: score how well the model predicts a text streamed through the window."""

import argparse
import asyncio
import json
import sys
from typing import TYPE_CHECKING

from chatapp.commands.scored import add_text_flags, request_of, too_short
from chatapp.commands.shared import (
    add_cache_flags,
    add_config_flag,
    add_trace_flags,
    config_of,
    engine_log,
    opened_trace,
)
from chatapp.text import one_line

if TYPE_CHECKING:
    from chatapp.protocol.commands import Measure
    from chatapp.replay.record import Recorder

INTERRUPTED = 130


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    add_text_flags(parser)
    parser.add_argument("--model", metavar="MODEL", help="path, name or hf:org/repo[:file]; default: the last one used")
    add_cache_flags(parser)
    parser.add_argument("--json", action="store_true", help="print only a JSON object")
    add_trace_flags(parser)
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    recompute = args.policy == "recompute"
    if recompute:
        args.policy = "dense"  # nothing is evicted: each token starts with an empty cache
    request = request_of(args, recompute=recompute)
    with opened_trace(args.trace, force=args.force) as trace:
        return asyncio.run(_measure(args, request, trace))


async def _measure(args: argparse.Namespace, request: "Measure", trace: "Recorder | None") -> int:
    from chatapp import models
    from chatapp.config import cache_settings, engine_settings
    from chatapp.headless import Headless
    from chatapp.protocol.events import Measured, Scored

    config = config_of(args)
    path = models.resolve(args.model or config.model)
    async with Headless(engine_log(), trace) as engine:
        loaded = await engine.load(path, cache_settings(config), engine_settings(config), scoring=not request.recompute)
        engine.post(request)
        result: Measured | None = None
        async for event in engine.stream(Measured):
            if isinstance(event, Scored) and not args.json:
                print(f"{event.tokens:>9} tokens  perplexity {event.perplexity:10.3f}", flush=True)
            if isinstance(event, Measured):
                result = event
    assert result is not None
    if result.tokens == 0 and not engine.interrupted:
        raise too_short(args)
    if args.json:
        print(
            json.dumps(
                {
                    "perplexity": result.perplexity if result.tokens else None,
                    "tokens": result.tokens,
                    "every": result.every,
                    "shifts": result.shifts,
                    "evicted_tokens": result.evicted_tokens,
                    "tok_s": result.tok_s,
                    "curve": result.curve,
                    "n_ctx": result.n_ctx,
                    "n_sink": result.n_sink,
                    "policy": result.policy,
                    "model": models.name_of(loaded.model.path),
                    "stop_reason": result.stop_reason,
                }
            )
        )
    elif result.tokens:
        sampled = "" if result.every == 1 else f" (one in {result.every})"
        print(
            f"{one_line(models.name_of(loaded.model.path))}: "
            f"perplexity {result.perplexity:.3f} over {result.tokens} tokens{sampled}; "
            f"window {result.n_ctx}, policy {result.policy}, {result.n_sink} sinks, {result.shifts} shifts, "
            f"{result.evicted_tokens} tokens evicted, {1000 / result.tok_s:.1f} ms per token"
        )
    if result.stop_reason == "window_full":
        print(
            f"swachat: stopped: the window of {result.n_ctx} tokens is full, and dense evicts nothing.", file=sys.stderr
        )
    return INTERRUPTED if engine.interrupted else 0
