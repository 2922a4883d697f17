"""/ledger: the whole screen, one kind alone, and a file that is never written over unasked."""

import csv
import json
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Log

from chatapp.errors import UserError
from chatapp.presentation.ledger import export
from chatapp.presentation.ledger.book import LedgerEntry
from chatapp.ui.dialogs.ask import AskYes
from chatapp.ui.widgets.inspector.ledger_log import LedgerLog
from chatapp.ui.widgets.inspector.section import Section
from tests.support.ui.chat_app import Bench, chat_screen, notices, ready, say, until
from tests.support.ui.inspector_app import text_of

ENTRIES = [
    LedgerEntry(at_s=12.5, kind="evict", turns=(1, 2, 3), partly=5, tokens=-1356, ms=0.41239, why="the window is full"),
    LedgerEntry(at_s=13.0, kind="warn", why="=cmd|' /C calc'!A0"),
]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def log(pilot: Pilot[None]) -> LedgerLog:
    """The ledger log."""
    return chat_screen(pilot).query_one(LedgerLog)


async def test_the_command_shows_one_kind_with_the_whole_screen_and_esc_goes_back(bench: Bench) -> None:
    app = bench.app()
    async with app.run_test(size=(140, 60)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await ready(pilot)
        await say(pilot, "/ledger reply")
        await until(pilot, lambda: log(pilot).query_ancestor(Section).zoomed)
        assert [entry.kind for entry in log(pilot).entries] == ["reply"]
        await pilot.press("escape")
        await until(pilot, lambda: not log(pilot).query_ancestor(Section).zoomed)
        await say(pilot, "/ledger")
        await until(pilot, lambda: log(pilot).only == "")
        assert {entry.kind for entry in log(pilot).entries} >= {"open", "prefill", "reply"}


async def test_at_eighty_columns_it_is_seen_too(bench: Bench) -> None:
    """There the inspector is one line: the log comes over the chat, with its sums and whole reasons, and goes again."""
    app = bench.app()
    async with app.run_test(size=(80, 24)) as pilot:
        await ready(pilot)
        await say(pilot, "hello")
        await ready(pilot)
        await say(pilot, "/ledger")
        await until(pilot, lambda: log(pilot).region.width >= 76)
        await until(pilot, lambda: "0 turns in the window, 0 evicted; a new" in text_of(log(pilot).query_one(Log)))
        assert "reply" in text_of(log(pilot).query_one("#sums"))
        await pilot.press("escape")
        await until(pilot, lambda: not log(pilot).query_ancestor(Section).zoomed)


async def test_a_kind_that_there_is_not_is_no_command(bench: Bench) -> None:
    app = bench.app()
    async with app.run_test(size=(140, 40)) as pilot:
        await ready(pilot)
        await say(pilot, "/ledger evicts")
        await until(pilot, lambda: any("Did you mean evict?" in line for line in notices(pilot)))
        assert not log(pilot).query_ancestor(Section).zoomed


async def test_a_file_that_is_there_is_replaced_only_when_the_person_says_so(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "led ger.jsonl"
    app = bench.app()
    async with app.run_test(size=(140, 40)) as pilot:
        await ready(pilot)
        await say(pilot, f"/ledger export {file}")
        await until(pilot, lambda: any(line.endswith(f"of the ledger log to {file}.") for line in notices(pilot)))
        written = file.read_text()
        assert json.loads(written.splitlines()[0])["kind"] == "open"
        file.write_text("something dear")
        await say(pilot, f"/ledger export {file}")
        await until(pilot, lambda: isinstance(app.screen, AskYes))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, AskYes))
        assert file.read_text() == "something dear"
        await say(pilot, f"/ledger export {file}")
        await until(pilot, lambda: isinstance(app.screen, AskYes))
        await pilot.press("enter")
        await until(pilot, lambda: file.read_text() == written)


# --------------------------------------------------------------------------- the file


def test_csv_has_a_row_for_each_entry_and_no_formula(tmp_path: Path) -> None:
    """A spreadsheet runs what begins with `=`; the words of a model's metadata must not."""
    file = tmp_path / "ledger.CSV"
    export.write(ENTRIES, file, replace=False)
    with file.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert rows[0] == {
        "at_s": "12.5",
        "kind": "evict",
        "turns": "1–3,5*",
        "tokens": "-1356",
        "processed": "",
        "reused": "",
        "ms": "0.412",
        "why": "the window is full",
    }
    assert rows[1]["why"] == "'=cmd|' /C calc'!A0"


def test_json_lines_have_numbers_and_what_is_not_known_is_null(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    export.write(ENTRIES, file, replace=False)
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert (first["turns"], first["partly"], first["tokens"], first["processed"]) == ([1, 2, 3], 5, -1356, None)
    assert second["why"] == ENTRIES[1].why


def test_the_file_is_replaced_when_that_was_asked_and_nothing_else_is_touched(tmp_path: Path) -> None:
    file = tmp_path / "ledger.csv"
    export.write(ENTRIES, file, replace=False)
    before = file.read_text()
    with pytest.raises(FileExistsError):
        export.write([], file, replace=False)
    assert file.read_text() == before
    export.write([], file, replace=True)
    assert file.read_text() == ",".join(export.FIELDS) + "\n"
    assert list(tmp_path.iterdir()) == [file]


def test_a_folder_that_is_not_there_is_a_persons_mistake(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be written"):
        export.write(ENTRIES, tmp_path / "no" / "ledger.csv", replace=False)


@pytest.mark.parametrize("name", ["ledger", "ledger.txt", "~"])
def test_a_name_says_the_format(name: str) -> None:
    with pytest.raises(UserError, match=r"must end in \.csv or \.jsonl"):
        export.file_of(name)
    assert export.file_of("~/x.csv").is_absolute()
