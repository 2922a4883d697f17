"""`swachat [MODEL]`: the chat itself, in the terminal."""

import argparse

from chatapp.commands.shared import (
    add_cache_flags,
    add_config_flag,
    add_sampling_flags,
    add_trace_flags,
    config_of,
    need_terminal,
    opened_trace,
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.add_argument(
        "model", nargs="?", metavar="MODEL", help="path, name or hf:org/repo[:file]; default: the last one used"
    )
    parser.add_argument("--resume", action="store_true", help="continue the last conversation")
    parser.add_argument("--session", metavar="NAME", help="continue the stored conversation NAME, or start it")
    add_cache_flags(parser)
    add_sampling_flags(parser)
    parser.add_argument("--theme", metavar="NAME", help="colour theme")
    add_trace_flags(parser)
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Open the chat; the exit code."""
    need_terminal("The chat", 'In a script, use: swachat ask "Hello".')
    config = config_of(args)
    from chatapp.ui import terminal
    from chatapp.ui.app import SwachatApp
    from chatapp.ui.services import real_services, recorded

    with opened_trace(args.trace, force=args.force) as trace:
        services = real_services()
        if trace is not None:
            services = recorded(services, trace)
        app = SwachatApp(config, services, model=args.model, resume=args.resume, session=args.session)
        return terminal.run(app)
