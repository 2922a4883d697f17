"""What the benchmarks share: one engine at work, a private home, a table and its JSON line."""

import json
import os
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PROMPT = "Write a very long story about a voyage across the sea. Describe every day of it."


@contextmanager
def private_home() -> Generator[Path]:
    """A folder that takes the place of the person's own settings, store and logs."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        before = dict(os.environ)
        for name in ("CONFIG", "DATA", "STATE"):
            os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())
        try:
            yield home
        finally:
            os.environ.clear()
            os.environ.update(before)


def show(rows: Sequence[dict[str, Any]], name: str) -> None:
    """Print `rows` as a table, then as one JSON line."""
    table(rows)
    print(json.dumps({"benchmark": name, "rows": list(rows)}))


def table(rows: Sequence[dict[str, Any]]) -> None:
    """Print `rows` for people."""
    columns = list(rows[0])
    cells = [[_cell(row[column]) for column in columns] for row in rows]
    widths = [max(len(column), *(len(line[i]) for line in cells)) for i, column in enumerate(columns)]
    print("  ".join(column.ljust(width) for column, width in zip(columns, widths, strict=True)))
    for line in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
