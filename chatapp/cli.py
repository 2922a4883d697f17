"""The `swachat` command. Nothing heavy is imported before it is known what is wanted."""

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
    "ask": "one prompt, one reply, on standard output",
    "perplexity": "stream a text through the cache and score it",
    "compare": "two windows on the same text, side by side",
    "doctor": "versions, devices, what a model's cache can do, and what it takes",
    "replay": "play a trace again in the same screens, without a model",
    "inspect": "a trace as one page of HTML that needs nothing else",
    "lab": "windows and sinks, computed and drawn",
    "models": "list, find, pull and remove models",
    "sessions": "list, export and remove conversations",
    "config": "make, find and check the settings file",
}
INTERRUPTED = 130
BROKEN_PIPE = 141


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {visible(message)}. See {self.prog} --help.\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code: 0 done, 2 the user's mistake, 3 model or engine, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a character that the terminal cannot show is no reason to fail
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
        # Who read our output has left; Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE


def _check_text(words: list[str]) -> None:
    """UserError where an argument is no text: Python keeps its bytes as lone surrogates, which nothing can take."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"The argument {word!r} is no UTF-8 text.", "Convert it.") from error


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
        description="Chat with a local model for as long as you like, and see what it can still see.",
        epilog=f"commands (swachat COMMAND --help):\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"swachat {__version__}")
    chat.add_arguments(parser)
    return chat.run(parser.parse_args(words))


if __name__ == "__main__":
    sys.exit(main())
