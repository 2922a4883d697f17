"""The `swachat` command. Nothing heavy is imported before the subcommand is known, and nothing at all before Ctrl+C is
taken care of.
"""

import os
import sys
from importlib import import_module

TYPE_CHECKING = False  # `typing` would be the first import that takes long enough for a Ctrl+C, `enum` the second
if TYPE_CHECKING:
    import signal as _signal
    from collections.abc import Sequence
else:
    import _signal

COMMANDS = {
    "ask": "send one prompt and print the reply",
    "perplexity": "score how well the model predicts a text",
    "compare": "compare two windows on the same text, side by side",
    "prompt": "show the very text that a model is given after a file of messages",
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


def main(argv: "Sequence[str] | None" = None) -> int:
    """Run the command line; the exit code: 0 success, 1 output that cannot be written, or a difference that was
    looked for, 2 user error, 3 model or engine error, 4 a conversation is open elsewhere, 130 interrupted, 141 nobody
    reads the output.

    Without `argv` this is the program itself: it takes the words, the standard streams and Ctrl+C from the process.
    """
    if argv is not None:
        return _main(list(argv))
    before = _signal.signal(_signal.SIGINT, _end_at_once)
    if before is not _signal.default_int_handler:  # a job in the background ignores it
        _signal.signal(_signal.SIGINT, before)
    from chatapp import streams

    streams.take()
    try:
        return _main(sys.argv[1:])
    finally:
        if before is _signal.default_int_handler:  # Python's own end is long enough for a traceback
            _signal.signal(_signal.SIGINT, _end_at_once)


def _end_at_once(*_: object) -> None:
    """Ctrl+C where there is nothing to finish: during an import, KeyboardInterrupt becomes an error of that module.

    Commands for which there is something set a handler of their own. All files survive a program that is killed.
    """
    clear = b"\r\x1b[K" if os.isatty(2) else b""
    try:
        os.write(2, clear + b"swachat: interrupted\n")
    finally:
        os._exit(INTERRUPTED)


def _main(words: list[str]) -> int:
    from chatapp.errors import SwachatError

    try:
        try:
            _check_text(words)
            return _dispatch(words)
        finally:
            sys.stdout.flush()  # here, where a failure can be reported
    except SwachatError as error:
        print(f"swachat: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("swachat: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return BROKEN_PIPE


def _check_text(words: list[str]) -> None:
    """UserError where an argument is not UTF-8: Python keeps its bytes as lone surrogates, which cannot be encoded."""
    from chatapp.errors import UserError

    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"The argument {word!r} is not valid UTF-8.", "Convert it to UTF-8.") from error


def _dispatch(words: list[str]) -> int:
    from chatapp.commands.parser import Parser

    if words and words[0] in COMMANDS:
        module = import_module(f"chatapp.commands.{words[0]}")
        parser = Parser(prog=f"swachat {words[0]}", description=module.__doc__, allow_abbrev=False)
        module.add_arguments(parser)
        return module.run(parser.parse_args(words[1:]))
    import argparse

    from chatapp import __version__
    from chatapp.commands import chat

    listed = "\n".join(f"  {name:<12}{what}" for name, what in COMMANDS.items())
    parser = Parser(
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
