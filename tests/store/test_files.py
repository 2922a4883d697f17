"""The database as a file: who may read it, and what happens when it is damaged, foreign, full or out of reach."""

import contextlib
import os
import resource
import shutil
import sqlite3
import stat
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from chatapp.errors import DamagedError, StoreError
from chatapp.store import Store

NOBODY = 65534


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "data" / "chat.db"


def write_something(file: Path, text: str = "hello") -> int:
    """A conversation with one message, in a closed database; its id."""
    with Store.open(file) as store:
        session = store.new_session(model="m", system=None, settings={}).id
        store.add_message(session, parent_id=None, turn=1, role="user", text=text)
    return session


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(params=[0o000, 0o022, 0o177])
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("umask")
def test_only_the_owner_can_read_what_is_written(file: Path) -> None:
    file.parent.mkdir(mode=0o755)
    file.parent.chmod(0o755)  # whatever the umask made of it: a folder that is there keeps its mode
    with Store.open(file) as store:
        store.new_session(model="m", system=None, settings={})
        assert {found.name: mode(found) for found in file.parent.iterdir()} == {
            "chat.db": 0o600,
            "chat.db-wal": 0o600,
            "chat.db-shm": 0o600,
        }
    assert mode(file.parent) == 0o755


def test_a_folder_made_for_it_is_private(file: Path) -> None:
    before = os.umask(0)
    try:
        with Store.open(file):
            assert mode(file.parent) == 0o700
    finally:
        os.umask(before)


def test_files_that_others_could_read_are_closed_to_them(file: Path) -> None:
    write_something(file)
    with Store.open(file) as first:  # keeps the -wal and -shm files there
        for found in file.parent.iterdir():
            found.chmod(0o644)
        with Store.open(file):
            assert {mode(found) for found in file.parent.iterdir()} == {0o600}
        assert len(first.sessions()) == 1


def test_it_is_a_wal_database_marked_as_ours(file: Path) -> None:
    write_something(file)
    db = sqlite3.connect(file)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"swac", "big"),)
    db.close()


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "short": lambda content: b"short",
    "text": lambda content: b"not a database at all\n" * 1000,
    "zeros": lambda content: bytes(len(content)),
    "cut off": lambda content: content[: len(content) // 2],
    "a page": lambda content: content[:4096] + b"\xff" * 4096 + content[8192:],
    "all but the header": lambda content: content[:100] + b"\xff" * (len(content) - 100),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_file_is_left_as_it_is_until_a_person_has_it_repaired(
    file: Path, damage: Callable[[bytes], bytes]
) -> None:
    write_something(file, "text " * 10_000)
    damaged = damage(file.read_bytes())
    file.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(DamagedError, match="is damaged") as caught:
            Store.open(file)
        assert str(file) in caught.value.what
        assert "sessions repair" in caught.value.todo
    assert file.read_bytes() == damaged
    aside = Store.repair(file)
    assert aside is not None
    assert aside.read_bytes() == damaged
    assert mode(aside) == mode(file) == 0o600
    with Store.open(file) as store:
        before = len(store.sessions())
        store.new_session(model="m", system=None, settings={})
    with Store.open(file) as store:
        assert store.notices == ()
        assert len(store.sessions()) == before + 1
    assert Store.repair(file) is None
    assert sorted(found.name for found in file.parent.iterdir()) == [file.name, aside.name]


def test_repairing_keeps_the_messages_that_can_be_read(file: Path) -> None:
    """One page of the messages is damaged, and the schema, which says where the tables are."""
    with Store.open(file) as store:
        session = store.new_session(model="m", system="s", settings={"a": 1}, name="long").id
        head = None
        for turn in range(1, 401):
            head = store.add_message(
                session, parent_id=head, turn=turn, role="user", text=f"number {turn} " + "x" * 300
            )
        reply = store.add_message(session, parent_id=head, turn=400, role="assistant", text="gro", state="growing")
        store.append_text(reply, "wing")
    content = bytearray(file.read_bytes())
    page = content.index(b"number 200 ") // 4096
    content[page * 4096 : page * 4096 + 64] = b"\xff" * 64
    content[200:300] = b"\xff" * 100
    file.write_bytes(content)
    with Store.open_to_read(file) as store:
        assert "damaged" in store.notices[0]
        readable = store.tree(session)
    assert file.read_bytes() == content
    assert Store.repair(file) is not None
    with Store.open(file) as store:
        info = store.session("long")
        assert (info.model, info.system, info.settings, info.head_id) == ("m", "s", {"a": 1}, reply)
        tree = store.tree(session)
        assert [message.text for message in tree] == [message.text for message in readable]
        assert len(tree) > 380
        assert (tree[-1].text, tree[-1].state) == ("growing", "stopped")
        assert tree[-1].parent_id == head
        assert [hit.message_id for hit in store.search(None, "growing")] == [reply]


def test_a_second_damaged_file_does_not_replace_the_first(file: Path) -> None:
    file.parent.mkdir()
    for number in range(3):
        file.write_text(f"damaged {number}")
        Store.repair(file)
    assert sorted(found.read_text() for found in file.parent.glob("*.damaged-*")) == [
        f"damaged {number}" for number in range(3)
    ]


def test_what_only_the_log_of_a_damaged_file_has_is_kept(file: Path) -> None:
    """A process was killed, so its last turn is in the -wal file alone; then the database itself was damaged."""
    session = write_something(file)
    with Store.open(file) as store:
        store.add_message(session, parent_id=None, turn=1, role="user", text="only in the log " * 20_000)
        log = (file.parent / "chat.db-wal").read_bytes()
    assert b"only in the log" in log
    file.write_bytes(b"damaged" * 10_000)
    (file.parent / "chat.db-wal").write_bytes(log)
    aside = Store.repair(file)
    assert aside is not None
    with Store.open(file) as store:
        assert [message.text for message in store.tree(session)] == ["hello", "only in the log " * 20_000]
    kept = b"".join(found.read_bytes() for found in file.parent.glob("chat.db.damaged-*"))
    assert b"only in the log" in kept


@contextlib.contextmanager
def files_no_larger_than(limit_bytes: int) -> Generator[None]:
    """Writing past the limit fails in the middle, as it does on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM message_fts_data WHERE id > 10",
        "UPDATE message_fts_data SET block = x'00' WHERE id > 10",
        "UPDATE message_fts_data SET block = x'0102030405060708' WHERE id > 10",
        "UPDATE message_fts_data SET block = x'00' WHERE id = 10",
    ],
)
def test_a_damaged_search_index_is_made_again(file: Path, damage: str) -> None:
    """SQLite 3.44 and later find most of it at the start; before, it shows when the index is merged or read."""
    session = write_something(file, "first words")
    damage_index(file, damage)
    with Store.open(file) as store:
        assert store.notices == ()
        refused = [error for _ in range(20) if (error := add_or_error(store, session)) is not None]
        assert len(refused) <= 1
        for error in refused:
            assert "search index" in error.what
            assert "No message is lost" in error.todo
        assert len(store.tree(session)) == 1 + 20 - len(refused)
        assert len(store.search(None, "words")) == 1 + 20 - len(refused)


def test_a_search_mends_the_index_too(file: Path) -> None:
    write_something(file, "words")
    with Store.open(file) as store:
        for search in (lambda: store.search(None, "words"), lambda: [*store.searching().find(None, "words", 9)]):
            damage_index(file, "DELETE FROM message_fts_data WHERE id > 10")
            with pytest.raises(StoreError, match="search index"):
                search()
            assert len(store.search(None, "words")) == 1


def damage_index(file: Path, damage: str) -> None:
    db = sqlite3.connect(file)
    db.execute(damage)
    db.commit()
    db.close()


def add_or_error(store: Store, session: int) -> StoreError | None:
    try:
        store.add_message(session, parent_id=None, turn=1, role="user", text="second words")
    except StoreError as error:
        return error
    return None


def test_damage_that_happens_while_it_is_open_is_one_clear_error(file: Path) -> None:
    session = write_something(file, "x" * 5_000_000)  # more than SQLite keeps in memory
    with Store.open(file) as store:
        content = file.read_bytes()
        file.write_bytes(content[:8192] + b"\xff" * (len(content) - 8192))
        with pytest.raises(StoreError, match="is damaged") as caught:
            store.tree(session)
        assert "sessions repair" in caught.value.todo


def test_a_database_of_another_program_is_left_alone(file: Path) -> None:
    file.parent.mkdir()
    db = sqlite3.connect(file)
    db.execute("CREATE TABLE bookmark (url TEXT)")
    db.close()
    before = file.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        Store.open(file)
    assert file.read_bytes() == before
    assert [found.name for found in file.parent.iterdir()] == ["chat.db"]


def test_an_empty_file_is_a_new_database(file: Path) -> None:
    file.parent.mkdir()
    file.touch()
    with Store.open(file) as store:
        assert store.notices == ()
        assert store.sessions() == []


def test_a_folder_in_its_place_is_one_clear_error(file: Path) -> None:
    file.mkdir(parents=True)
    with pytest.raises(StoreError, match=r"chat\.db is a folder"):
        Store.open(file)


def test_a_pipe_in_its_place_is_one_clear_error(file: Path) -> None:
    file.parent.mkdir()
    os.mkfifo(file)
    with pytest.raises(StoreError, match="not a regular file"):
        Store.open(file)


def test_a_file_in_place_of_its_folder_is_one_clear_error(file: Path) -> None:
    file.parent.touch()
    with pytest.raises(StoreError, match="Cannot create the folder"):
        Store.open(file)


@pytest.fixture
def readable_folder() -> Iterator[Path]:
    """A folder whose permissions bind this process, which gives up the superuser's rights for the test."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    write_something(folder / "chat.db")
    superuser = os.geteuid() == 0
    if superuser:
        for found in (folder, *folder.iterdir()):
            os.chown(found, NOBODY, -1)
        os.seteuid(NOBODY)
    try:
        yield folder
    finally:
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)
        shutil.rmtree(folder)


@pytest.mark.parametrize("name", ["chat.db", "new.db", "new/chat.db"])
def test_a_read_only_folder_is_one_clear_error(readable_folder: Path, name: str) -> None:
    readable_folder.chmod(0o555)
    (readable_folder / "chat.db").chmod(0o400)
    with pytest.raises(StoreError, match="permissions"):
        Store.open(readable_folder / name)
    readable_folder.chmod(0o755)
    (readable_folder / "chat.db").chmod(0o600)
    with Store.open(readable_folder / "chat.db") as store:
        assert len(store.sessions()) == 1


@pytest.mark.parametrize("logged", [False, True])
def test_a_read_only_folder_can_be_read(readable_folder: Path, logged: bool) -> None:
    """Also what only the log has, which a killed process left; and nothing is written."""
    file = readable_folder / "chat.db"
    with Store.open(file) as store:
        store.add_message(1, parent_id=1, turn=1, role="assistant", text="newest")
        left = {found: found.read_bytes() for found in readable_folder.iterdir() if found.suffix != ".db-shm"}
    if logged:
        for found, content in left.items():
            found.write_bytes(content)
    for found in readable_folder.iterdir():
        found.chmod(0o400)
    readable_folder.chmod(0o555)
    before = {found.name: found.read_bytes() for found in readable_folder.iterdir()}
    with Store.open_to_read(file) as store:
        assert [message.text for message in store.tree(1)] == ["hello", "newest"]
        assert len(store.search(None, "new")) == 1
        assert store.notices == ()
    assert {found.name: found.read_bytes() for found in readable_folder.iterdir()} == before


def test_a_full_disk_can_be_read(file: Path) -> None:
    write_something(file)
    with files_no_larger_than(20_000), Store.open_to_read(file) as store:
        assert [message.text for message in store.tree(1)] == ["hello"]


def test_a_damaged_file_that_cannot_be_moved_is_left_as_it_is(readable_folder: Path) -> None:
    file = readable_folder / "chat.db"
    file.write_bytes(b"damaged")
    readable_folder.chmod(0o555)
    with pytest.raises(StoreError, match=r"move the damaged .* aside"):
        Store.repair(file)
    assert file.read_bytes() == b"damaged"


def test_a_full_disk_loses_nothing_and_work_goes_on_when_there_is_space(file: Path) -> None:
    with Store.open(file) as store:
        session = store.new_session(model="m", system=None, settings={}).id
        reply = store.add_message(session, parent_id=None, turn=1, role="assistant", state="growing")
        store.append_text(reply, "before")
        with files_no_larger_than(200_000):
            with pytest.raises(StoreError, match="space") as caught:
                store.add_message(session, parent_id=reply, turn=2, role="user", text="x" * 300_000)
            with pytest.raises(StoreError, match="space"):
                store.append_text(reply, "y" * 300_000)
        assert str(file) in caught.value.what
        assert [message.text for message in store.tree(session)] == ["before"]
        store.append_text(reply, " and after")
        store.finish_message(reply, state="done")
    with Store.open(file) as store:
        assert [message.text for message in store.path(session)] == ["before and after"]
