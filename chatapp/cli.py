"""The `swachat` command. Nothing heavy is imported before the subcommand is known."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

from chatapp import __version__
from chatapp.errors import SwachatError, UserError
from chatapp.text import visible

COMMANDS = {
    "ask": "send one prompt and print the reply",
    "perplexity": "score how well the model predicts a text",
    "compare": "compare two windows on the same text, side by side",
    "doctor": "show versions, devices, and what a model's cache supports",
    "replay": "play back a trace in the same screens, without a model",
    "inspect": "turn a trace into one self-contained HTML page",
    "lab": "experiments with windows and sinks, computed and plotted",
    "models": "list, locate, download and delete models",
    "sessions": "list, export and delete conversations",
    "config": "create, locate and check the settings file",
}
INTERRUPTED = 130
BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {visible(message)}. See {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code.

    0 success, 2 user error, 3 model or engine error, 4 a conversation is open elsewhere, 130 interrupted.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # do not fail on a character that the terminal cannot show
            stream.reconfigure(errors="backslashreplace")
    try:
        _check_text(words)
        return _dispatch(words)
    except SwachatError as error:
        print(f"swachat: {visible(str(error))}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("swachat: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output is gone; Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _check_text(words: list[str]) -> None:
    """UserError where an argument is not UTF-8: Python keeps its bytes as lone surrogates, which cannot be encoded."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"The argument {word!r} is not valid UTF-8.", "Convert it to UTF-8.") from error


def _dispatch(words: list[str]) -> int:
    if words and words[0] in COMMANDS:
        module = import_module(f"chatapp.commands.{words[0]}")
        parser = _Parser(prog=f"swachat {words[0]}", description=module.__doc__, allow_abbrev=False)
        module.add_arguments(parser)
        return module.run(parser.parse_args(words[1:]))
    from chatapp.commands import chat

    listed = "\n".join(f"  {name:<12}{what}" for name, what in COMMANDS.items())
    parser = _Parser(
        prog="swachat",
        description="Chat with a local model for as long as you like, and watch its context window.",
        epilog=f"commands (see swachat COMMAND --help):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"swachat {__version__}")
    chat.add_arguments(parser)
    return chat.run(parser.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
