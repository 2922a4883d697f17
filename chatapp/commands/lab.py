"""`swachat lab mask|reach|sinks|ring|memory`: experiments with windows and sinks, computed and plotted."""

import argparse
import asyncio
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.cache.memory_plan import TYPE_SIZE
from chatapp.commands.shared import engine_log
from chatapp.errors import UserError
from chatapp.text import visible

if TYPE_CHECKING:
    from chatapp.lab.pictures import Experiment
    from chatapp.lab.shapes import Shape
    from chatapp.protocol.events import Examined

SENTENCE = "The cat is on a chair"
POLICIES = ("dense", "window", "sinks", "chunked", "packed")
MODELS = ("llama-3.1-8b", "mistral-7b", "gemma-3-27b", "gpt-oss-20b", "gpt-oss-120b")
"""Those of chatapp.lab.shapes, which --help must not load."""
COMPARED = ("llama-3.1-8b", "mistral-7b", "gemma-3-27b")
MOST_LAYERS, MOST_TOKENS = 10_000, 1 << 24
DEFAULT_TOKENS = 4096
EXAMINED_CELLS = 4096


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the five experiments to `parser`."""
    experiments = parser.add_subparsers(dest="experiment", required=True, metavar="mask|reach|sinks|ring|memory")

    def add(name: str, what: str, make: "Callable[[argparse.Namespace], Experiment]") -> argparse.ArgumentParser:
        one = experiments.add_parser(name, help=what, description=f"{what.capitalize()}.", allow_abbrev=False)
        one.set_defaults(make=make)
        one.add_argument("--json", action="store_true", help="print only a JSON object")
        one.add_argument("--out", type=Path, metavar="FILE", help="also write a picture: FILE.png or FILE.svg")
        return one

    mask = add("mask", "which tokens each token can attend to", _mask)
    _add_words(mask)
    mask.add_argument("--policy", choices=POLICIES, help="the attention mask; default: inferred from the other flags")
    mask.add_argument(
        "--window",
        type=_whole(1),
        metavar="W",
        help="window, including the token itself, or size of a chunk; default 3",
    )
    mask.add_argument("--sinks", type=_whole(0), metavar="S", help="first tokens that stay visible")
    mask.add_argument(
        "--lengths", type=_whole(1), nargs="+", metavar="N", help="lengths of prompts packed into one sequence"
    )

    reach = add("reach", "how far back information can travel through stacked windows", _reach)
    reach.add_argument("--layers", type=_whole(0, MOST_LAYERS), metavar="L", help="number of layers")
    reach.add_argument("--window", type=_whole(1, MOST_TOKENS), metavar="W", help="window, including the token itself")
    reach.add_argument("--global-every", type=_whole(1), metavar="N", help="every Nth layer is global (Gemma 3: 6)")
    _add_models(reach, repeated=False)
    reach.add_argument(
        "--alpha", type=_share, default=0.9, metavar="A", help="weight of the residual stream; default 0.9"
    )
    reach.add_argument(
        "--eps", type=_share, default=0.01, metavar="E", help="influence below this share is ignored; default 0.01"
    )
    reach.add_argument("--tokens", type=_whole(1, MOST_TOKENS), metavar="N", help="number of cached tokens")

    sinks = add("sinks", "where unneeded attention goes, by variant", _sinks)
    sinks.add_argument(
        "--tokens", type=_whole(1), default=24, metavar="N", help="length of the text in tokens; default 24"
    )
    sinks.add_argument(
        "--window", type=_whole(1), default=8, metavar="W", help="window, including the token itself; default 8"
    )
    sinks.add_argument("--sinks", type=_whole(0), default=1, metavar="S", help="first tokens to keep; default 1")
    sinks.add_argument(
        "--score", type=_number, default=4.0, metavar="X", help="how much higher a sink scores; default 4"
    )

    ring = add("ring", "the rolling buffer, step by step", _ring)
    _add_words(ring)
    ring.add_argument("--window", type=_whole(1), default=4, metavar="W", help="cells in the rolling part; default 4")
    ring.add_argument("--sinks", type=_whole(0), default=0, metavar="S", help="first tokens with cells of their own")

    memory = add("memory", "memory that the cache takes as the conversation grows", _memory)
    _add_models(memory, repeated=True)
    memory.add_argument(
        "--up-to",
        type=_whole(1, MOST_TOKENS),
        default=131072,
        metavar="N",
        help="longest conversation in tokens; default 131072",
    )
    memory.add_argument(
        "--ctx",
        type=_whole(1, MOST_TOKENS),
        metavar="N",
        help="also show the conversation kept in this window, as swachat does",
    )
    memory.add_argument(
        "--micro-batch",
        type=_whole(1, MOST_TOKENS),
        default=256,
        metavar="N",
        help="micro-batch in tokens; default 256",
    )
    memory.add_argument("--type-k", choices=list(TYPE_SIZE), default="f16", help="type of the cached keys; default f16")
    memory.add_argument(
        "--type-v", choices=list(TYPE_SIZE), default="f16", help="type of the cached values; default f16"
    )


def run(args: argparse.Namespace) -> int:
    """Run the experiment that `add_arguments` parsed; the exit code. Errors are raised as SwachatError."""
    from chatapp.lab import pictures

    if args.out is not None:
        pictures.check(args.out)
    experiment: Experiment = args.make(args)
    if args.out is not None:
        pictures.write(experiment, args.out)
    if args.json:
        print(json.dumps(experiment.numbers()), flush=True)
        return 0
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    with console.capture() as shown:  # Rich would end the program itself on a broken pipe
        for line in experiment.lines(console.width):
            console.print(line)
    print(shown.get(), end="", flush=True)
    return 0


def _add_words(parser: argparse.ArgumentParser) -> None:
    words = parser.add_mutually_exclusive_group()
    words.add_argument("--text", metavar="TEXT", help=f'each word is a token; default "{SENTENCE}"')
    words.add_argument("--tokens", type=_whole(1, MOST_TOKENS), metavar="N", help="number of tokens, instead of words")


def _add_models(parser: argparse.ArgumentParser, *, repeated: bool) -> None:
    action = "append" if repeated else "store"
    parser.add_argument(
        "--model", action=action, metavar="MODEL", help="a model on this machine: path, name or hf:org/repo"
    )
    parser.add_argument("--shape", action=action, choices=MODELS, help="a published model, no file needed")


def _mask(args: argparse.Namespace) -> "Experiment":
    from chatapp.lab.mask import mask

    policy = args.policy or ("packed" if args.lengths else "sinks" if args.sinks else "window")
    goes_with = {"--sinks": (args.sinks, {"sinks"}), "--lengths": (args.lengths, {"packed"})}
    for flag, (value, policies) in goes_with.items():
        if value and policy not in policies:
            raise UserError(f"{flag} does not apply to --policy {policy}.", f"Omit {flag}.")
    if policy == "dense" and args.window is not None:
        raise UserError("--window does not apply to --policy dense.", "Omit --window.")
    words, count = _words(args, sum(args.lengths) if args.lengths else None)
    if policy == "packed":
        if not args.lengths:
            raise UserError(
                "--policy packed needs the lengths of the prompts.", "Add --lengths, such as --lengths 3 2."
            )
        if sum(args.lengths) != count:
            raise UserError(f"--lengths adds up to {sum(args.lengths)} tokens, not {count}.", "Make the two match.")
    window = args.window if policy in ("dense", "packed") else args.window or 3
    lengths = args.lengths or ()
    return mask(policy, count, window=window, n_sink=args.sinks or 0, lengths=lengths, words=words)


def _reach(args: argparse.Namespace) -> "Experiment":
    from chatapp.lab import shapes
    from chatapp.lab.reach import reach

    by_numbers = (args.layers, args.window, args.global_every) != (None, None, None)
    if by_numbers + (args.model is not None) + (args.shape is not None) != 1:
        raise UserError(
            "Name a model, a shape, or layers and window.",
            "Give --model MODEL, --shape NAME, or --layers and --window.",
        )
    if by_numbers:
        for flag, value in (("--layers", args.layers), ("--window", args.window)):
            if value is None:
                raise UserError(f"{flag} is missing.", "Give --layers and --window.")
        name, window = None, args.window
        windows = shapes.windows(args.layers, window, args.global_every)
    else:
        shape = shapes.published(args.shape) if args.shape else _shape_of(args.model, "f16", "f16")
        name, window, windows = shape.name, shape.window, shape.windows
    tokens = args.tokens or (DEFAULT_TOKENS if None in windows else None)
    return reach(windows, window=window, alpha=args.alpha, eps=args.eps, tokens=tokens, name=name)


def _sinks(args: argparse.Namespace) -> "Experiment":
    from chatapp.lab.sinks import sinks

    return sinks(args.tokens, window=args.window, n_sink=args.sinks, score=args.score)


def _ring(args: argparse.Namespace) -> "Experiment":
    from chatapp.lab.ring import ring

    words, count = _words(args)
    return ring(words or [str(position) for position in range(count)], window=args.window, n_sink=args.sinks)


def _memory(args: argparse.Namespace) -> "Experiment":
    from chatapp.lab import shapes
    from chatapp.lab.memory import memory

    types = (args.type_k, args.type_v)
    specs: list[str] = args.model or []
    names: list[str] = args.shape or ([] if specs else list(COMPARED))
    compared = [shapes.published(name, *types) for name in names]
    compared += [_shape_of(spec, *types) for spec in specs]
    return memory(
        compared,
        up_to=args.up_to,
        ctx=args.ctx,
        micro_batch=args.micro_batch,
        type_k=args.type_k,
        type_v=args.type_v,
    )


def _words(args: argparse.Namespace, expected: int | None = None) -> tuple[list[str] | None, int]:
    """The tokens as words, None where they are only counted; and how many there are."""
    if args.tokens is not None:
        return None, args.tokens
    if args.text is None and expected is not None:
        return None, expected
    words = visible(SENTENCE if args.text is None else args.text).split()
    if not words:
        raise UserError("--text contains no words.", "Give at least one.")
    return words, len(words)


def _shape_of(spec: str, type_k: str, type_v: str) -> "Shape":
    """The shape of a model file, as llama.cpp reads it: in the engine's process, which a bad file may crash."""
    from chatapp import models
    from chatapp.lab import shapes

    return shapes.of_model(asyncio.run(_examined(models.resolve(spec), type_k, type_v)))


async def _examined(path: Path, type_k: str, type_v: str) -> "Examined":
    from chatapp.headless import Headless
    from chatapp.protocol.commands import Examine
    from chatapp.protocol.events import Examined, Started
    from chatapp.protocol.values import CacheSettings, EngineSettings

    cache = CacheSettings(n_ctx=EXAMINED_CELLS, swa_full=True, type_k=type_k, type_v=type_v)
    async with Headless(engine_log()) as engine:
        await engine.until(Started)
        engine.post(Examine(path=str(path), cache=cache, engine=EngineSettings()))
        return await engine.until(Examined)


def _whole(least: int, most: int | None = None) -> Callable[[str], int]:
    """An argument that is a whole number from `least` to `most`."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if number < least:
            raise argparse.ArgumentTypeError(f"must be {least} or more, not {text}")
        if most is not None and number > most:
            raise argparse.ArgumentTypeError(f"must be {most} or less, not {text}")
        return number

    return parse


def _number(text: str) -> float:
    """An argument that is a finite number."""
    try:
        number = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
    if not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"must be finite, not {text}")
    return number


def _share(text: str) -> float:
    """An argument from 0 to 1."""
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"must be between 0 and 1, not {text}")
    return number
