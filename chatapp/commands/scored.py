"""What `perplexity` and `compare` share: which text is scored, and how much of it."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.errors import UserError

if TYPE_CHECKING:
    from chatapp.protocol.commands import Measure


def add_text_flags(parser: argparse.ArgumentParser) -> None:
    """The text, and how much of it."""
    parser.add_argument("--text", type=Path, required=True, metavar="FILE", help="the text to score, in UTF-8")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="stop after this many tokens")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="score every Nth token (1 to 512; default 1)")


def request_of(args: argparse.Namespace, *, recompute: bool = False) -> "Measure":
    """The measurement that the flags ask for. Raises UserError where it is impossible.

    `max_tokens` is taken out of `args`: here it is the length of the text; in the settings, that of a reply.
    """
    from chatapp.compare.text import read_text
    from chatapp.protocol.commands import SCORED_STEP_TOK, Measure

    text = read_text(args.text)
    max_tokens, args.max_tokens = args.max_tokens, None
    if max_tokens is not None and max_tokens < 2:
        raise UserError(f"--max-tokens {max_tokens} leaves nothing to predict.", "Use 2 or more.")
    if not 1 <= args.every <= SCORED_STEP_TOK:
        raise UserError(f"--every {args.every} is not possible.", f"Use 1 to {SCORED_STEP_TOK}.")
    return Measure(text=text, max_tokens=max_tokens, every=args.every, recompute=recompute)


def too_short(args: argparse.Namespace) -> UserError:
    """The error where nothing was scored."""
    least = "two" if args.every == 1 else str(args.every + 1)
    return UserError(f"{args.text} has fewer than {least} tokens.", "Use a longer text.")
