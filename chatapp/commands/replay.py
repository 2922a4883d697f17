"""`swachat replay TRACE`: play back a recorded conversation, without a model."""

import argparse
import math
from pathlib import Path

from chatapp.commands.shared import add_config_flag, config_of, need_terminal
from chatapp.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.add_argument("trace", type=Path, metavar="TRACE", help="a file written with --trace")
    parser.add_argument("--at", type=int, default=0, metavar="N", help="start after event N")
    parser.add_argument("--speed", type=float, default=1.0, metavar="X", help="playback speed (default 1)")
    parser.add_argument("--theme", metavar="NAME", help="colour theme")
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Play the trace; the exit code."""
    if args.at < 0:
        raise UserError(f"--at {args.at} is before the first event.", "Events are counted from 1.")
    if not (math.isfinite(args.speed) and 0 < args.speed <= 1000):
        raise UserError(f"--speed {args.speed:g} is not possible.", "Use more than 0 and at most 1000.")
    need_terminal("A replay", f"In a script, use: swachat inspect {args.trace} --html FILE.")
    config = config_of(args)
    from chatapp.replay.index import Index
    from chatapp.replay.player import Player
    from chatapp.replay.timeline import Timeline

    with Index(args.trace) as index:
        from chatapp.ui import terminal
        from chatapp.ui.replay_app import ReplayApp

        app = ReplayApp(config, Player(Timeline(index), args.at, args.speed))
        return terminal.run(app)
