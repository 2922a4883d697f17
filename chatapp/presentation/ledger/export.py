"""The ledger's entries as a file: CSV for a spreadsheet, JSON lines for a script, by the file's suffix."""

import csv
import io
import json
import os
from collections.abc import Iterable
from pathlib import Path

from chatapp.errors import UserError
from chatapp.files import write_asked_for
from chatapp.presentation.ledger.book import LedgerEntry
from chatapp.presentation.ledger.lines import turns_of

FIELDS = ("at_s", "kind", "turns", "tokens", "processed", "reused", "ms", "why")
_FORMULA = ("=", "+", "-", "@", "\t")
"""Characters that a spreadsheet takes for the start of a formula."""


def file_of(words: str) -> Path:
    """The file that a person named. Raises UserError if its suffix is not a known format."""
    file = Path(os.path.expanduser(words)).absolute()
    if file.suffix.lower() not in (".csv", ".jsonl"):
        raise UserError(f"{words} must end in .csv or .jsonl.", "For example: /ledger export FILE.csv.")
    return file


def write(entries: Iterable[LedgerEntry], file: Path, *, replace: bool) -> None:
    """Write the entries. Raises FileExistsError if the file exists and `replace` is False, UserError if it cannot be
    written; an existing file is unchanged then.
    """
    text = as_csv(entries) if file.suffix.lower() == ".csv" else as_json_lines(entries)
    try:
        write_asked_for(file, text.encode(), replace=replace)
    except FileExistsError:
        raise
    except OSError as error:
        raise UserError(f"The ledger cannot be written to {file}: {error.strerror}.", "Choose another file.") from error


def as_csv(entries: Iterable[LedgerEntry]) -> str:
    """A row for each entry under the names in FIELDS; unknown figures are empty."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(FIELDS)
    for entry in entries:
        why = f"'{entry.why}" if entry.why.startswith(_FORMULA) else entry.why
        row = [
            entry.at_s,
            entry.kind,
            turns_of(entry),
            entry.tokens,
            entry.processed,
            entry.reused,
            _rounded(entry.ms),
            why,
        ]
        table.writerow(["" if value is None else value for value in row])
    return out.getvalue()


def as_json_lines(entries: Iterable[LedgerEntry]) -> str:
    """An object for each entry; `partly` is the turn of which only the oldest tokens were evicted."""
    return "".join(
        json.dumps(
            {
                "at_s": entry.at_s,
                "kind": entry.kind,
                "turns": list(entry.turns),
                "partly": entry.partly,
                "tokens": entry.tokens,
                "processed": entry.processed,
                "reused": entry.reused,
                "ms": _rounded(entry.ms),
                "why": entry.why,
            },
            ensure_ascii=False,
        )
        + "\n"
        for entry in entries
    )


def _rounded(ms: float | None) -> float | None:
    """To a microsecond: no clock here is more exact."""
    return None if ms is None else round(ms, 3)
