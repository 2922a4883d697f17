"""`swachat sessions`: list, export and delete stored conversations, and repair their database."""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chatapp.errors import UserError
from chatapp.files import write_asked_for
from chatapp.text import LONGEST_SENTENCE, one_line, visible

if TYPE_CHECKING:
    from chatapp.store import SessionInfo, Store


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments, without heavy imports."""
    actions = parser.add_subparsers(dest="sessions_action", required=True, metavar="ACTION")

    listing = actions.add_parser("list", help="list the conversations, most recent first")
    listing.add_argument("--json", action="store_true", help="print a JSON array with every field")

    export = actions.add_parser("export", help="print a conversation, or write it to a file")
    export.add_argument("session", metavar="NAME|ID", help="see `swachat sessions list`")
    export.add_argument(
        "--format",
        choices=("md", "json"),
        default="md",
        help="md: the current branch, as readable text; json: every branch",
    )
    export.add_argument(
        "--reasoning", action="store_true", help="with what the model thought before each answer, marked as such"
    )
    export.add_argument("--output", type=Path, metavar="FILE", help="write to this new file instead")

    remove = actions.add_parser("rm", help="delete a conversation permanently")
    remove.add_argument("session", metavar="NAME|ID", help="see `swachat sessions list`")
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    mend = actions.add_parser("repair", help="set a damaged database aside, and keep what can be read of it")
    mend.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def run(args: argparse.Namespace) -> int:
    """Do what was asked; the exit code. Raises SwachatError."""
    from chatapp.paths import store_file
    from chatapp.store import Store

    if args.sessions_action == "repair":
        return _repair(store_file(), yes=args.yes)
    reads = args.sessions_action in ("list", "export")
    with (Store.open_to_read if reads else Store.open)(store_file()) as store:
        for notice in store.notices:
            print(one_line(notice, LONGEST_SENTENCE), file=sys.stderr)
        if args.sessions_action == "list":
            return _list(store, as_json=args.json)
        info = store.session(args.session)
        if info.damage:
            print(f"Damaged in the database: {', '.join(info.damage)}.", file=sys.stderr)
        if args.sessions_action == "export":
            return _export(store, info, args.format, args.output, reasoning=args.reasoning)
        return _remove(store, info, yes=args.yes)


def _list(store: "Store", *, as_json: bool) -> int:
    found = store.sessions()
    if as_json:
        print(_json([dataclasses.asdict(info) for info in found]))
        return 0
    if not found:
        print("No conversations yet.")
        return 0
    print(f"{'ID':>5}  {'WRITTEN':16}  {'MESSAGES':>8}  NAME OR FIRST WORDS")
    for info in found:
        at = info.updated_at
        written = "?" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
        damage = f" (damaged: {', '.join(info.damage)})" if info.damage else ""
        print(f"{info.id:>5}  {written:16}  {info.n_messages:>8}  {one_line(_label(info))}{damage}")
    return 0


def _export(store: "Store", info: "SessionInfo", format: str, output: Path | None, *, reasoning: bool) -> int:
    if format == "md":
        text = store.export_markdown(info.id, reasoning=reasoning)
    else:
        text = _json(store.export(info.id, reasoning=reasoning)) + "\n"
    if output is not None:
        _write_new(output, text)
    else:
        # A pipe or file gets the text as it is stored; a terminal would obey what is in it.
        sys.stdout.write(visible(text) if sys.stdout.isatty() else text)
    return 0


def _remove(store: "Store", info: "SessionInfo", *, yes: bool) -> int:
    from chatapp.paths import saved_caches_dir
    from chatapp.store import SavedCaches

    store.locks.program = "swachat sessions"
    store.locks.hold(info.id)
    what = f"conversation {info.id} ({one_line(_label(info))}; messages: {info.n_messages})"
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"Deleting {what} needs confirmation, and there is no terminal to ask on.", "Add --yes.")
        if not _agrees(f"Delete {what} permanently? [y/N] "):
            print("Nothing was deleted.")
            return 0
    store.delete_session(info.id)
    SavedCaches(saved_caches_dir(), keep=0).forget(info.id)
    print(f"Deleted {what}.")
    return 0


def _repair(path: Path, *, yes: bool) -> int:
    from chatapp.errors import DamagedError
    from chatapp.store import Store

    try:
        Store.open(path).close()
    except DamagedError as error:
        print(visible(error.what), file=sys.stderr)
    else:
        print(f"The conversation database {path} is not damaged.")
        return 0
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(
                "Setting a file aside needs confirmation, and there is no terminal to ask on.", "Add --yes."
            )
        if not _agrees("Set it aside and put what can be read of it into a new one? [y/N] "):
            print("Nothing was changed.")
            return 0
    aside = Store.repair(path)
    with Store.open(path) as store:
        kept = store.sessions()
    messages = sum(info.n_messages for info in kept)
    print(f"Kept {messages:,} messages in {len(kept):,} conversations. The damaged file is {aside}.")
    return 0


def _agrees(question: str) -> bool:
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        print()
        return False


def _label(info: "SessionInfo") -> str:
    """What the user knows the conversation by, on one line."""
    return " ".join((info.name or info.title or "(empty)").split())


def _json(value: Any) -> str:
    """`value` as JSON that a terminal can show: control characters are escaped, so nothing is lost."""
    text = json.dumps(value, ensure_ascii=False, indent=2)
    if visible(text) == text:
        return text
    return "".join(c if visible(c) == c else f"\\u{ord(c):04x}" for c in text)


def _write_new(path: Path, text: str) -> None:
    """Write a new file; UserError where that fails."""
    try:
        write_asked_for(path, text.encode(), replace=False)
    except FileExistsError as error:
        raise UserError(f"{path} already exists.", "Name another file, or delete it first.") from error
    except OSError as error:
        raise UserError(f"Cannot write {path}: {error.strerror or error}.", "Choose another path.") from error
