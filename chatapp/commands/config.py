"""`swachat config init|path|check`: create the config file, locate it, check it."""

import argparse
import os
import sys
import tempfile
from pathlib import Path

from chatapp import paths
from chatapp.errors import ConfigError
from chatapp.text import LONGEST_PATH, one_line


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's arguments."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    init = actions.add_parser("init", help="write a config file with every setting, its default and what it does")
    init.add_argument("--force", action="store_true", help="overwrite an existing file")
    actions.add_parser("path", help="print the path of the config file, whether or not it exists")
    check = actions.add_parser("check", help="report every problem in the settings")
    check.add_argument(
        "file", nargs="?", type=Path, help="check only this file (default: your config file and the environment)"
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code: 0 success, 2 invalid settings. Raises ConfigError if the file is unwritable."""
    if args.action == "init":
        return _init(force=args.force)
    if args.action == "check":
        return _check(args.file)
    print(one_line(str(paths.config_file()), LONGEST_PATH))
    return 0


def _init(*, force: bool) -> int:
    from chatapp.config import example_yaml

    named = paths.config_file()
    name = one_line(str(named), LONGEST_PATH)
    if os.path.lexists(named) and not force:
        raise ConfigError(
            f"{name} already exists.", "Nothing was changed. `swachat config init --force` overwrites it."
        )
    # A config file may be a symlink into a folder of dotfiles: the file is replaced, never the link.
    file = named.resolve()
    paths.private_folder(file.parent)
    try:
        _write(file, example_yaml())
    except OSError as error:
        todo = "Check the permissions of its folder."
        raise ConfigError(f"{name} cannot be written: {error.strerror}.", todo) from error
    print(f"Wrote {name} with every setting at its default. Edit it, then run `swachat config check`.")
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
    name = one_line(str(checked), LONGEST_PATH)
    if not checked.exists():
        print(f"There is no config file ({name}): the defaults apply.")
    else:
        print(f"{name} is valid.")
    return 0
