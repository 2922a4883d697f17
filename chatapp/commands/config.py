"""`swachat config init|path|check`: make the config file, find it, and see whether it is right."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from chatapp import paths
from chatapp.errors import ConfigError
from chatapp.text import visible


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="write a config file with every setting, its default and its reason")
    init.add_argument("--force", action="store_true", help="replace a file that is there")
    actions.add_parser("path", help="print where the config file is, or would be")
    check = actions.add_parser("check", help="tell everything that is wrong with the settings")
    check.add_argument("file", nargs="?", type=Path, help="check this file alone (default: yours, and the environment)")


def run(args: argparse.Namespace) -> int:
    """Do it; the exit code: 0 done, 2 a setting is wrong. Raises ConfigError where the file cannot be written."""
    if args.action == "init":
        return _init(force=args.force)
    if args.action == "check":
        return _check(args.file)
    print(visible(str(paths.config_file())))
    return 0


def _init(*, force: bool) -> int:
    from chatapp.config import example_yaml

    named = paths.config_file()
    name = visible(str(named))
    if os.path.lexists(named) and not force:
        raise ConfigError(f"{name} exists already.", "Nothing was changed. `swachat config init --force` replaces it.")
    # A config file may be a link into a folder of dotfiles: the file is replaced, never the link.
    file = named.resolve()
    paths.private_folder(file.parent)
    try:
        _write(file, example_yaml())
    except OSError as error:
        todo = "Check the permissions of its folder."
        raise ConfigError(f"{name} cannot be written: {error.strerror}.", todo) from error
    print(f"Wrote {name}: every setting with its default. Change what you like, then run `swachat config check`.")
    return 0


def _write(file: Path, text: str) -> None:
    """Write the whole file or nothing, for its owner alone (mkstemp makes it with mode 0600)."""
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with open(handle, "w", encoding="utf-8") as out:
            out.write(text)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _check(file: Path | None) -> int:
    from chatapp.config import check_config

    problems = check_config(environ={}, file=file) if file else check_config()
    for problem in problems:
        print(problem, file=sys.stderr)
    if problems:
        return ConfigError.exit_code
    checked = file or paths.config_file()
    if not checked.exists():
        print(f"There is no config file ({visible(str(checked))}): the defaults hold.")
    else:
        print(f"{visible(str(checked))} is valid.")
    return 0
