"""`swachat inspect TRACE --html FILE`: turn a recorded conversation into one self-contained page."""

import argparse
from pathlib import Path

from chatapp.errors import UserError
from chatapp.files import write_asked_for


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.add_argument("trace", type=Path, metavar="TRACE", help="a file written with --trace")
    parser.add_argument("--html", type=Path, required=True, metavar="FILE", help="where to write the page")
    parser.add_argument("--force", action="store_true", help="overwrite an existing page")


def run(args: argparse.Namespace) -> int:
    """Write the page; the exit code."""
    from chatapp.page.gather import gather
    from chatapp.page.render import render
    from chatapp.replay.index import Index
    from chatapp.replay.timeline import Timeline

    with Index(args.trace) as index:
        page = render(gather(Timeline(index))).encode()
    try:
        write_asked_for(args.html, page, replace=args.force)
    except FileExistsError as error:
        raise UserError(
            f"The page {args.html} already exists.", "Name another one, or overwrite it with --force."
        ) from error
    except OSError as error:
        raise UserError(f"The page {args.html} cannot be written: {error.strerror}.", "Name another one.") from error
    return 0
