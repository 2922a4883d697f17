"""Flags that several commands share."""

import argparse
import os
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from chatapp.errors import UserError

if TYPE_CHECKING:
    from chatapp.config import Config
    from chatapp.replay.record import Recorder


def add_config_flag(parser: argparse.ArgumentParser) -> None:
    """--config FILE."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings file (see `swachat config path`)")


def add_cache_flags(parser: argparse.ArgumentParser) -> None:
    """The window and its policy."""
    parser.add_argument(
        "--ctx",
        type=_number_or_word,
        metavar="N",
        help="window in tokens, rounded up to a multiple of 256; max: as large as fits",
    )
    parser.add_argument(
        "--sinks",
        type=_number_or_word,
        metavar="N",
        help="how many first tokens to keep, at least; auto: as measured",
    )
    parser.add_argument(
        "--policy",
        metavar="P",
        help="what to evict when the window is full: auto, sinks, slide, rebuild, window, dense",
    )
    parser.add_argument(
        "--swa-full", action="store_true", default=None, help="keep every cell of sliding-window layers"
    )


def _number_or_word(text: str) -> int | str:
    """A whole number, or a word for the settings to accept or reject."""
    try:
        return int(text)
    except ValueError:
        return text


def add_sampling_flags(parser: argparse.ArgumentParser) -> None:
    """How replies are sampled."""
    parser.add_argument("--seed", type=int, metavar="N", help="random seed: makes replies repeatable")
    parser.add_argument("--temp", type=float, metavar="T", help="temperature; 0 always takes the likeliest token")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="maximum length of the reply in tokens")
    parser.add_argument("--think-budget", type=int, metavar="N", help="end a model's thoughts after N tokens")
    parser.add_argument("--system", metavar="TEXT", help="system prompt; it is never evicted")
    parser.add_argument("--chat-template", metavar="FILE", help="Jinja chat template in place of the model's own")


def config_of(args: argparse.Namespace) -> "Config":
    """The settings, with the flags of `args` over them."""
    from chatapp.config import load_config

    names = {
        "ctx": "cache.ctx",
        "sinks": "cache.sinks",
        "policy": "cache.policy",
        "swa_full": "cache.swa_full",
        "seed": "sampling.seed",
        "temp": "sampling.temperature",
        "max_tokens": "sampling.max_tokens",
        "think_budget": "sampling.think_budget",
        "system": "system",
        "chat_template": "engine.chat_template",
        "theme": "ui.theme",
    }
    flags = {dotted: getattr(args, name, None) for name, dotted in names.items()}
    if isinstance(temperature := flags["sampling.temperature"], int):
        flags["sampling.temperature"] = float(temperature)
    return load_config(flags, file=args.config)


def need_terminal(what: str, otherwise: str) -> None:
    """UserError where `what` cannot be drawn and typed in; `otherwise` says what a script uses.

    The screen is drawn on standard error, as Textual does it, and in the terminal's own size, whatever a shell exports.
    """
    if not all(map(os.isatty, (0, 1, 2))):
        raise UserError(f"{what} needs a terminal.", otherwise)
    kind = os.environ.get("TERM", "")
    if kind in ("dumb", "unknown"):  # what Textual asks for the terminal's size holds each of them to be 80x25
        raise UserError(f"{what} cannot be drawn in a terminal of type {kind} (TERM).", otherwise)
    for name in ("COLUMNS", "LINES"):  # they would hold for good, when the terminal's size changes too
        os.environ.pop(name, None)


@contextmanager
def interruptible() -> Generator[None]:
    """Within it Ctrl+C is a KeyboardInterrupt, for what must be finished. Elsewhere it ends the program at once."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def engine_log() -> Path:
    """Where llama.cpp's log goes."""
    from chatapp.paths import state_dir

    return state_dir() / "engine.log"


def add_trace_flags(parser: argparse.ArgumentParser) -> None:
    """The trace file."""
    parser.add_argument(
        "--trace",
        type=Path,
        metavar="FILE",
        help="record the conversation and what the engine does, for `swachat replay`",
    )
    parser.add_argument("--force", action="store_true", help="overwrite an existing trace file")


@contextmanager
def opened_trace(path: Path | None, *, force: bool = False) -> "Generator[Recorder | None]":
    """A recorder on the trace file, as `private_file` makes it."""
    if path is None:
        yield None
        return
    from chatapp.replay.record import Recorder

    with private_file(path, "trace file", force=force) as file:
        yield Recorder(file)


def private_file(path: Path, what: str, *, force: bool = False) -> BinaryIO:
    """A new file that nobody else can read, unbuffered: it holds a conversation.

    UserError where the file already exists, unless `force`, and where it cannot be written.
    """
    # A pipe or a device is written to; only a file can be lost.
    new = os.O_TRUNC if force or (path.exists() and not path.is_file()) else os.O_EXCL
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | new, 0o600)
    except FileExistsError as error:
        raise UserError(
            f"The {what} {path} already exists.", "Name another one, or overwrite it with --force."
        ) from error
    except OSError as error:
        raise UserError(f"The {what} {path} cannot be written: {error.strerror}.", "Name another one.") from error
    if path.is_file():
        os.fchmod(descriptor, 0o600)  # an overwritten file would keep its old mode
    return open(descriptor, "wb", buffering=0)
