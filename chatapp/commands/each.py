"""`swachat ask --each FILE`: a reply to every line of a file, several in parallel."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.commands import given
from chatapp.commands.shared import config_of, engine_log, opened_trace
from chatapp.commands.shown_reply import reply_text
from chatapp.errors import ModelError, UserError
from chatapp.text import LONGEST_SENTENCE, one_line, visible

if TYPE_CHECKING:
    from chatapp.protocol.events import Replied
    from chatapp.replay.record import Recorder

AT_ONCE = 4
REFUSED = ModelError.exit_code
"""At least one prompt was refused; the others have their replies."""
INTERRUPTED = 130


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    if args.prompt is not None or args.session is not None:
        raise UserError("--each takes its prompts from the file.", "Omit PROMPT and --session.")
    if not 1 <= args.at_once <= 16:
        raise UserError(f"--at-once {args.at_once} is not between 1 and 16.", "4 is a good choice.")
    prompts = [line for line in _text(args.each).splitlines() if line.strip()]
    if not prompts:
        raise UserError(f"{args.each} contains no prompts.", "Write one per line.")
    with opened_trace(args.trace, force=args.force) as trace:
        return asyncio.run(_each(args, prompts, trace))


def _text(name: Path) -> str:
    from chatapp.compare.text import read_text

    return (given.standard_input(patient=True) or "") if str(name) == "-" else read_text(name)


async def _each(args: argparse.Namespace, prompts: list[str], trace: "Recorder | None") -> int:
    from msgspec import structs

    from chatapp import models
    from chatapp.config import cache_settings, engine_settings, sampling
    from chatapp.headless import Headless
    from chatapp.protocol.commands import Several
    from chatapp.protocol.events import Replied, SeveralDone

    config = config_of(args)
    path = models.resolve(args.model or config.model)
    cache = structs.replace(cache_settings(config), live_branches=min(args.at_once, len(prompts)))
    async with Headless(engine_log(), trace) as engine:
        loaded = await engine.load(path, cache, engine_settings(config))
        for warning in loaded.warnings:
            print(f"swachat: {one_line(warning, LONGEST_SENTENCE)}", file=sys.stderr)
        refused = False
        engine.post(Several(system=config.system, prompts=prompts, sampling=sampling(config)))
        async for event in engine.stream(SeveralDone):
            if isinstance(event, Replied):
                _show(event, prompts[event.number], as_json=args.json, thoughts=args.show_thoughts)
                refused = refused or bool(event.error)
                if event.mismatch is not None:
                    wrong = f"ledger and cache disagree in prompt {event.number + 1}: {event.mismatch}"
                    print(f"swachat: {wrong}. Please report this.", file=sys.stderr)
    models.remember(str(args.model or config.model or path))
    if engine.interrupted:
        return INTERRUPTED
    return REFUSED if refused else 0


def _show(reply: "Replied", prompt: str, *, as_json: bool, thoughts: bool) -> None:
    if not as_json:
        said = visible(reply_text(reply.text, reply.reasoning if thoughts else ""))
        answer = f"Not answered. {one_line(reply.error)}" if reply.error else said
        print(f"[{reply.number + 1}] {visible(prompt)}\n{answer}\n", flush=True)
        return
    values = {
        "number": reply.number + 1,
        "prompt": prompt,
        "reply": reply.text,
        "reasoning": reply.reasoning or None,
        "prompt_tokens": reply.prompt_tokens,
        "reply_tokens": reply.reply_tokens,
        "reasoning_tokens": reply.reasoning_tokens,
        "evicted_tokens": reply.evicted_tokens,
        "stop_reason": reply.stop_reason,
        "error": reply.error or None,
    }
    print(json.dumps(values), flush=True)
