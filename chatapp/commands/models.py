"""`swachat models list|path|pull|rm`: list, locate, download and delete models."""

import argparse
import json
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from chatapp.commands.shared import interruptible
from chatapp.text import LONGEST_PATH, one_line

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rich.console import Console

    from chatapp.models import ModelFile, Progress


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the four subcommands to `parser`."""
    actions = parser.add_subparsers(dest="models_action", required=True, metavar="list|path|pull|rm")

    listing = actions.add_parser("list", help="list the models on this machine")
    listing.add_argument("--json", action="store_true", help="print a JSON array")

    path = actions.add_parser("path", help="print the path of a model's file")
    path.add_argument("model", metavar="MODEL", help="a name, a path or hf:org/repo[:file]")

    pull = actions.add_parser("pull", help="download a model from the Hugging Face Hub, or resume a download")
    pull.add_argument("model", metavar="MODEL", help="hf:org/repo[:file], or starter")
    pull.add_argument(
        "--yes", action="store_true", help="where the repository holds several models, take the Q4_K_M one"
    )

    rm = actions.add_parser("rm", help="delete a downloaded model")
    rm.add_argument("model", metavar="MODEL", help="a name, or hf:org/repo[:file]")
    rm.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def run(args: argparse.Namespace) -> int:
    """Run the subcommand that `add_arguments` parsed; the exit code. Errors are raised as SwachatError."""
    match args.models_action:
        case "list":
            return _list(as_json=args.json)
        case "path":
            return _path(args.model)
        case "pull":
            return _pull(args.model, yes=args.yes)
        case _:
            return _rm(args.model, yes=args.yes)


def _list(*, as_json: bool) -> int:
    from chatapp.models import known, unfinished
    from chatapp.units import size

    models = known()
    if as_json:
        print(json.dumps([_as_json(model) for model in models], indent=2))
        return 0
    if models:
        rows = [("NAME", "SIZE", "QUANTIZATION", "SOURCE", "PATH")]
        for model in models:
            path = str(model.path) if model.path else "(assembled on first use)"
            rows.append((model.name, size(model.size_bytes), model.quantization or "-", model.source, path))
        _print_table(rows)
    else:
        print("No models on this machine. Get one with: swachat models pull starter", file=sys.stderr)
    for file in unfinished():
        done = size(file.stat().st_size)
        print(f"Unfinished: {done} in {_shown(file)}. Pull again to resume, or delete it.", file=sys.stderr)
    return 0


def _as_json(model: "ModelFile") -> dict[str, str | int | None]:
    return {
        "name": model.name,
        "size_bytes": model.size_bytes,
        "source": model.source,
        "quantization": model.quantization,
        "path": str(model.path) if model.path else None,
    }


def _print_table(rows: list[tuple[str, ...]]) -> None:
    """Columns as wide as they need to be: a path that a table wrapped could not be copied."""
    from rich.cells import cell_len

    shown = [[one_line(cell, LONGEST_PATH) for cell in row] for row in rows]
    widths = [max(cell_len(row[column]) for row in shown) for column in range(len(shown[0]))]
    for row in shown:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        print("  ".join(padded).rstrip())


def _shown(path: "Path") -> str:
    """A path, whole and on one line."""
    return one_line(str(path), LONGEST_PATH)


def _path(spec: str) -> int:
    from chatapp.models import resolve

    print(_shown(resolve(spec)))
    return 0


def _pull(spec: str, *, yes: bool) -> int:
    from rich.console import Console

    from chatapp.models import hub_client, pull
    from chatapp.models.spec import is_hub

    if is_hub(spec):
        hub_client.load()  # before Ctrl+C is an exception, which no import survives
    console = Console(stderr=True, highlight=False)
    try:
        with interruptible(), _progress_shown(console) as report:
            path = pull(spec, report=report, prefer="Q4_K_M" if yes else None)
    except KeyboardInterrupt:
        print("Stopped. Pull again to resume from here.", file=sys.stderr)
        return 130
    print(_shown(path))
    return 0


@contextmanager
def _progress_shown(console: "Console") -> "Generator[Callable[[Progress], None], None, None]":
    """What a pull reports to: a bar on a terminal, else a line for every 10%."""
    from rich.progress import BarColumn, DownloadColumn, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars
    from rich.text import Text

    from chatapp.units import size

    if not console.is_terminal:
        yield _print_tenths()
        return

    class Speed(ProgressColumn):
        """Rich's own column is decimal only."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{size(round(speed))}/s", "progress.data.speed")

    label = TextColumn("{task.description}", markup=False)
    done = DownloadColumn(binary_units=True)
    with Bars(label, BarColumn(), done, Speed(), TimeRemainingColumn(), console=console) as bars:
        tasks = {phase: bars.add_task("", total=None, start=False, visible=False) for phase in ("pull", "verify")}

        def report(progress: "Progress") -> None:
            task = tasks[progress.phase]
            bars.start_task(task)
            bars.update(
                task,
                description=one_line(f"{progress.phase} {progress.file}"),
                total=progress.total_bytes,
                completed=progress.done_bytes,
                visible=True,
            )

        yield report


def _print_tenths() -> "Callable[[Progress], None]":
    from chatapp.units import size

    last = ("", -1)

    def report(progress: "Progress") -> None:
        nonlocal last
        tenth = (progress.phase, 10 * progress.done_bytes // max(progress.total_bytes, 1))
        if tenth != last:
            last = tenth
            of = f"{size(progress.done_bytes)} of {size(progress.total_bytes)}"
            print(f"{progress.phase} {one_line(progress.file)}: {of}", file=sys.stderr, flush=True)

    return report


def _rm(spec: str, *, yes: bool) -> int:
    from chatapp.errors import UserError
    from chatapp.models import removal, remove
    from chatapp.units import size

    files = removal(spec)
    freed = size(sum(file.stat().st_size for file in files))
    if not yes:
        if not sys.stdin.isatty():
            raise UserError(f"Deleting {spec} needs confirmation, and there is no terminal to ask on.", "Add --yes.")
        listed = "".join(f"  {_shown(file)}\n" for file in files)
        print(f"This deletes {freed}:\n{listed}Delete? [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
            print("Nothing was deleted.", file=sys.stderr)
            return 0
    remove(files)
    print(f"Deleted {one_line(spec)}: {freed}.", file=sys.stderr)
    return 0
