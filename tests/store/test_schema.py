"""A database of any older version opens as one of today's, and one of a newer version is refused untouched."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.errors import StoreError
from chatapp.store import Store
from chatapp.store.schema import APPLICATION_ID, MIGRATIONS, migrate, version_of


@pytest.fixture
def db(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(tmp_path / "chat.db", isolation_level=None)
    yield connection
    connection.close()


def tables(path: Path) -> list[tuple[str, str]]:
    db = sqlite3.connect(path)
    found = db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
    db.close()
    return found


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
def test_each_older_version_becomes_the_newest(db: sqlite3.Connection, tmp_path: Path, version: int) -> None:
    migrate(db, MIGRATIONS[:version])
    assert version_of(db) == version
    with Store.open(tmp_path / "chat.db") as store, Store.open(tmp_path / "new.db") as new:
        assert store.notices == new.notices == ()
        session = store.new_session(model="m", system=None, settings={}).id
        store.add_message(session, parent_id=None, turn=1, role="user", text="works")
        assert len(store.search(None, "works")) == 1
    assert version_of(db) == len(MIGRATIONS)
    assert tables(tmp_path / "chat.db") == tables(tmp_path / "new.db")


STEPS = (
    ("CREATE TABLE a (x INTEGER)", "INSERT INTO a VALUES (1)"),
    ("ALTER TABLE a ADD COLUMN y INTEGER DEFAULT 7", "INSERT INTO a VALUES (2, 8)"),
)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_only_the_missing_steps_are_taken(db: sqlite3.Connection, version: int) -> None:
    migrate(db, STEPS[:version])
    migrate(db, STEPS)
    assert db.execute("SELECT x, y FROM a ORDER BY x").fetchall() == [(1, 7), (2, 8)]
    assert version_of(db) == 2
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


def test_a_step_that_fails_leaves_the_file_as_it_was(db: sqlite3.Connection) -> None:
    migrate(db, STEPS[:1])
    broken = (*STEPS, ("INSERT INTO a VALUES (3, 9)", "INSERT INTO missing VALUES (1)"))
    with pytest.raises(sqlite3.OperationalError, match="missing"):
        migrate(db, broken)
    assert version_of(db) == 1
    assert db.execute("SELECT * FROM a").fetchall() == [(1,)]
    assert not db.in_transaction


def test_a_newer_version_is_refused_untouched(db: sqlite3.Connection, tmp_path: Path) -> None:
    file = tmp_path / "chat.db"
    migrate(db, (*MIGRATIONS, ("CREATE TABLE from_the_future (x INTEGER)",)))
    before = file.read_bytes()
    with pytest.raises(StoreError) as caught:
        Store.open(file)
    assert str(file) in caught.value.what
    assert "newer swachat" in caught.value.what
    assert "Update swachat" in caught.value.todo
    assert file.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ["chat.db"]
