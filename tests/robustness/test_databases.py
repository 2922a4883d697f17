"""Damaged databases: what is whole stays readable, what is damaged is said so, and nothing raises anything else."""

import argparse
import contextlib
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatapp.chat.conversation import Conversation
from chatapp.commands.sessions import add_arguments, run
from chatapp.errors import StoreError
from chatapp.paths import store_file
from chatapp.store import Store
from tests.robustness.tries import Try, tries

SESSIONS = 3
TURNS = 4


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, bytes]:
    """A database with branches, pins, stats and a reply cut off, and a log with its last turns."""
    file = tmp_path_factory.mktemp("sound") / "swachat.db"
    with Store.open(file) as store:
        for number in range(1, SESSIONS + 1):
            name = f"named {number}" if number % 2 else None
            session = store.new_session(model="m.gguf", system="Be brief.", settings={"n_ctx": 512}, name=name).id
            head = None
            for turn in range(1, TURNS + 1):
                asked = store.add_message(
                    session, parent_id=head, turn=turn, role="user", text=f"Ask {number}.{turn} é?"
                )
                store.set_pinned(asked, turn == 2)
                for _ in range(1 + (turn == 3)):
                    head = store.add_message(session, parent_id=asked, turn=turn, role="assistant", state="growing")
                    store.append_text(head, f"word {number}.{turn} " * (300 if turn == 3 else 9), f"thought {turn} ")
                    if turn < TURNS:
                        store.finish_message(head, state="done", stats={"reply_tokens": 3}, tokens=bytes(12), model="m")
            if number == SESSIONS - 1:
                log_from = sqlite3.connect(file)
                log_from.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                log_from.close()
        log = file.with_name("swachat.db-wal").read_bytes()
        content = file.read_bytes()
    assert len(log) > 10_000
    return content, log


@pytest.fixture
def database(sound: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], Path]:
    """Puts the sound one in place, and takes away what a try before left there."""
    monkeypatch.setenv("SWACHAT_DATA_DIR", str(tmp_path))

    def place() -> Path:
        for left in tmp_path.iterdir():
            left.unlink()
        file = store_file()
        file.write_bytes(sound[0])
        file.with_name("swachat.db-wal").write_bytes(sound[1])
        return file

    return place


def command(*words: str) -> tuple[str, str]:
    """What `swachat sessions` prints on its two outputs; a refusal is one line on the second."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            run(parser.parse_args(words))
        except StoreError as error:
            print(one_line(error), file=sys.stderr)
    return out.getvalue(), err.getvalue()


def one_line(error: StoreError) -> str:
    """What a person reads of it."""
    text = str(error)
    assert text.isprintable()
    assert len(text) < 1000
    return text


def read_all(attempt: Try) -> list[str]:
    """Reads everything in every way; the listing's lines."""
    listed, errors = command("list")
    exact, _ = command("list", "--json")
    infos: list[dict[str, Any]] = json.loads(exact) if exact else []
    assert len(listed.splitlines()) == (1 + len(infos) if infos else min(1, len(listed))), attempt
    for info in infos:
        kind = attempt.choice(("md", "json"))
        whole, _ = command("export", str(info["id"]), "--format", kind, "--reasoning")
        if whole and kind == "json":
            seen: set[int | None] = {None}
            for message in json.loads(whole)["messages"]:
                assert message["parent_id"] in seen, attempt
                seen.add(message["id"])
    assert listed or errors, attempt
    return listed.splitlines()


def use(file: Path, attempt: Try) -> bool:
    """What a chat does: opens it, resumes each conversation, searches, writes; False where it refuses to."""
    try:
        with Store.open(file) as store:
            store.last_session()
            store.recent_prompts(100)
            for info in store.sessions():
                store.forks(info.id)
                resumed = Conversation.resumed(store, info)
                assert all(len(sent.tokens) % 4 == 0 for sent in resumed.as_messages(512)), attempt
            store.search(None, "wo")
            new = Conversation(store, model="m", system=None, settings={})
            new.ask(f"still written {attempt.label}")
            assert store.search(None, "still written")[0].message_id == new.messages[0].id, attempt
    except StoreError as error:
        one_line(error)
        return False
    return True


CELLS: tuple[object, ...] = (
    None, b"\xff\xfe\x00blob", "\x00\x1b]0;x\x07", -1e18, 1e300, 2**62, -(2**62), 0, -1, "", "NaN", "[1, 2]", "{",
    '"x"', '{"a": ' * 5000, '{"a": 1e999}', '{"reply_tokens": "many"}', 3.7, "user", "assistant", "growing", 1, 5,
    "x" * 100_000,
)  # fmt: skip
COLUMNS = {
    "session": ("name", "model", "system", "settings", "head_id", "created_at", "updated_at", "written"),
    "message": (
        "session_id",
        "parent_id",
        "turn",
        "role",
        "text",
        "state",
        "stats",
        "created_at",
        "pinned",
        "tokens",
        "model",
        "reasoning",
    ),
    "piece": ("seq", "text", "reasoning"),
}


def damage_cells(file: Path, attempt: Try) -> None:
    """Some cells, past every constraint; bad UTF-8 as text among them."""
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA ignore_check_constraints = ON")
    db.execute("PRAGMA writable_schema = ON")
    schema = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table' AND name IN ('session', 'message')")
    before = schema.fetchall()
    for name, sql in before:
        loose = sql.replace("NOT NULL", "")
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (loose, name))
    db.close()
    db = sqlite3.connect(file, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA ignore_check_constraints = ON")
    for _ in range(attempt.randint(1, 4)):
        table = attempt.choice([*COLUMNS])
        column = attempt.choice(COLUMNS[table])
        value = attempt.choice(CELLS)
        spot = (
            f"rowid = {attempt.randint(1, SESSIONS * (TURNS * 2 + 1))}"
            if table == "message"
            else f"id = {attempt.randint(1, SESSIONS)}"
        )
        spot = "1" if table == "piece" else spot
        bad_text = attempt.random() < 0.2
        with contextlib.suppress(sqlite3.IntegrityError):  # a name or a number of a piece that is there already
            if bad_text:
                db.execute(f"UPDATE {table} SET {column} = CAST(x'61ff62c3' AS TEXT) WHERE {spot}")
            else:
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {spot}", (value,))
    db.execute("PRAGMA writable_schema = ON")
    for name, sql in before:
        db.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (sql, name))
    db.close()


def test_damaged_rows_are_shown_as_damaged_and_everything_else_works(database: Callable[[], Path]) -> None:
    told: list[bool] = []
    for attempt in tries("database rows", 120):
        file = database()
        damage_cells(file, attempt)
        with Store.open_to_read(file) as store:
            told.append(any(info.damage or any(m.damage for m in store.tree(info.id)) for info in store.sessions()))
        assert len(read_all(attempt)) == 1 + SESSIONS, attempt
        assert use(file, attempt), attempt
        assert len(read_all(attempt)) == 2 + SESSIONS, attempt
    assert sum(told) > len(told) / 2, "cells are damaged"


def flip(content: bytearray, attempt: Try, most: int, within: int | None = None) -> None:
    for _ in range(attempt.randint(1, most)):
        content[attempt.randrange(within or len(content))] ^= 1 << attempt.randrange(8)


def damage_file(file: Path, attempt: Try) -> None:
    """Bytes, pages, the header, the schema's page, the length, the log."""
    log = file.with_name("swachat.db-wal")
    content, logged = bytearray(file.read_bytes()), bytearray(log.read_bytes())
    match attempt.randrange(8):
        case 0:
            flip(content, attempt, 3)
        case 1:
            flip(content, attempt, 60)
        case 2:
            flip(content, attempt, 2, within=100)
        case 3:
            flip(content, attempt, 3, within=4096)
        case 4:
            page = attempt.randrange(len(content) // 4096) * 4096
            content[page : page + 4096] = attempt.randbytes(4096)
        case 5:
            del content[attempt.randrange(len(content)) :]
        case 6:
            flip(logged, attempt, 5)
        case _:
            del logged[attempt.randrange(len(logged)) :]
    file.write_bytes(content)
    if attempt.random() < 0.3:
        log.unlink()
    else:
        log.write_bytes(logged)


def test_damaged_files_are_read_as_far_as_can_be_and_repaired(database: Callable[[], Path]) -> None:
    for attempt in tries("database files", 150):
        file = database()
        damage_file(file, attempt)
        read_all(attempt)
        before = file.read_bytes()
        if not use(file, attempt):
            read_all(attempt)
            try:
                aside = Store.repair(file)
            except StoreError as error:  # a newer version's, by its number, or another program's
                one_line(error)
                continue
            if aside is not None:
                assert aside.read_bytes() == before or aside.stat().st_size > 0, attempt
                assert use(file, attempt), attempt
                read_all(attempt)


EDITS = (
    "DROP TRIGGER message_added",
    "DROP INDEX message_by_parent",
    "DROP TABLE piece",
    "DROP TABLE message_fts",
    "CREATE TRIGGER odd AFTER INSERT ON session BEGIN DELETE FROM message; END",
    "CREATE VIEW odd AS SELECT * FROM message",
    "CREATE TABLE beside (x)",
    "ALTER TABLE message RENAME COLUMN text TO words",
    "ALTER TABLE session ADD COLUMN more TEXT",
    "PRAGMA user_version = 0",
    "PRAGMA user_version = 2",
    "PRAGMA user_version = 9",
    "PRAGMA user_version = -1",
    "PRAGMA application_id = 7",
    "DELETE FROM message_fts_config",
    "DELETE FROM message_fts_data",
    "UPDATE message_fts_data SET block = x'ff'",
    "UPDATE sqlite_sequence SET seq = 'x'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET sql = 'CREATE TABLE message (id)' WHERE name = 'message'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET rootpage = 3 WHERE name = 'session'",
    "PRAGMA writable_schema = ON; DELETE FROM sqlite_master WHERE name = 'session'",
    "PRAGMA writable_schema = ON; UPDATE sqlite_master SET name = CAST(x'6dff' AS TEXT) WHERE name LIKE '%parent'",
)


def test_edited_schemas_are_told_and_read(database: Callable[[], Path]) -> None:
    for attempt in tries("database schemas", 44):
        file = database()
        db = sqlite3.connect(file, isolation_level=None)
        db.execute("PRAGMA synchronous = OFF")
        db.executescript(EDITS[int(attempt.label.split()[-1]) % len(EDITS)])
        db.close()
        read_all(attempt)
        if not use(file, attempt):
            with contextlib.suppress(StoreError):
                Store.repair(file)
                read_all(attempt)
