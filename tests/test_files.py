"""Files that a person asked for: whole or not at all, with the mode that the umask gives."""

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chatapp.cli import main
from chatapp.files import write_asked_for
from chatapp.paths import store_file
from chatapp.presentation.ledger import export
from chatapp.store import Store
from tests.support.traces import record, sends


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def page(folder: Path) -> Path:
    trace, file = folder / "trace.jsonl", folder / "page.html"
    record(trace, sends(1))
    assert main(["inspect", str(trace), "--html", str(file)]) == 0
    return file


def conversation(folder: Path) -> Path:
    with Store.open(store_file()) as store:
        store.new_session(model="m", system=None, settings={}, name="work")
    file = folder / "work.md"
    assert main(["sessions", "export", "work", "--output", str(file)]) == 0
    return file


def ledger(folder: Path) -> Path:
    file = folder / "ledger.csv"
    export.write([], file, replace=False)
    return file


def picture(folder: Path) -> Path:
    pytest.importorskip("matplotlib")
    file = folder / "mask.svg"
    assert main(["lab", "mask", "--out", str(file)]) == 0
    return file


@pytest.mark.parametrize("make", [page, conversation, ledger, picture])
def test_the_umask_decides_who_can_read_a_file_that_was_asked_for(
    umask: int, make: Callable[[Path], Path], tmp_path: Path
) -> None:
    """They were 0600 whatever it was. What the program keeps for itself still is."""
    assert stat.S_IMODE(make(tmp_path).stat().st_mode) == 0o666 & ~umask
    if store_file().exists():
        assert stat.S_IMODE(store_file().stat().st_mode) == 0o600


def test_a_link_is_kept_and_a_name_of_full_length_is_possible(tmp_path: Path) -> None:
    target, link = tmp_path / ("x" * 255), tmp_path / "link"
    write_asked_for(target, b"1", replace=False)
    link.symlink_to(target)
    write_asked_for(link, b"2", replace=True)
    assert link.is_symlink()
    assert target.read_bytes() == b"2"
    with pytest.raises(FileExistsError):
        write_asked_for(link, b"3", replace=False)
    assert sorted(tmp_path.iterdir()) == sorted([target, link])
