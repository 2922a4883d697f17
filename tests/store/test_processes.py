"""Several processes on one database, and processes that end without a word."""

import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.errors import StoreError
from chatapp.store import Store

ROOT = Path(__file__).parents[2]

WRITER = """
import sys
from pathlib import Path
from chatapp.store import Store

store = Store.open(Path(sys.argv[1]))
session = store.new_session(model="m", system=None, settings={}, name="cut off").id
question = store.add_message(session, parent_id=None, turn=1, role="user", text="count")
reply = store.add_message(session, parent_id=question, turn=1, role="assistant", state="growing")
for number in range(10**9):
    store.append_text(reply, f"number{number} ")
    print(number, flush=True)
"""

TALKER = """
import sys
from pathlib import Path
from chatapp.store import Store

print("ready", flush=True)
sys.stdin.readline()
with Store.open(Path(sys.argv[1]), busy_s=30) as store:
    session = store.new_session(model="m", system=None, settings={}, name=sys.argv[2]).id
    head = None
    for turn in range(1, 26):
        head = store.add_message(session, parent_id=head, turn=turn, role="user", text=f"{sys.argv[2]} asks {turn}")
        head = store.add_message(session, parent_id=head, turn=turn, role="assistant", state="growing")
        for piece in range(5):
            store.append_text(head, f"{piece} ")
        store.finish_message(head, state="done")
"""

HOLDER = """
import sys
from pathlib import Path
from chatapp.store import Store

with Store.open(Path(sys.argv[1])) as store:
    session = store.new_session(model="m", system=None, settings={}, name="held").id
    store.add_message(session, parent_id=None, turn=1, role="user", text="held")
    print("open", flush=True)
    sys.stdin.read()
"""


def start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


def test_a_killed_writer_loses_nothing_that_it_had_appended(file: Path) -> None:
    with start(WRITER, str(file)) as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            if int(line) == 300:
                break
        writer.kill()
        told = [300, *(int(line) for line in writer.stdout if line.endswith("\n"))][-1]
    assert writer.returncode == -signal.SIGKILL
    with Store.open(file) as store:
        assert store.notices == ()
        question, reply = store.path(store.session("cut off").id)
        assert question.text == "count"
        numbers = reply.text.split()
        assert len(numbers) > told
        assert numbers == [f"number{number}" for number in range(len(numbers))]
        assert (reply.state, reply.stats) == ("stopped", None)
        assert [hit.message_id for hit in store.search(None, f"number{told}")] == [reply.id]
        # The conversation goes on from there.
        store.add_message(reply.session_id, parent_id=reply.id, turn=2, role="user", text="go on")
        assert len(store.path(reply.session_id)) == 3


def test_processes_that_start_together_on_a_new_file_share_it(file: Path) -> None:
    names = ["ann", "ben", "cleo"]
    talkers = [start(TALKER, str(file), name) for name in names]
    for talker in talkers:
        assert talker.stdout is not None
        assert talker.stdout.readline() == "ready\n"
    for talker in talkers:
        assert talker.stdin is not None
        talker.stdin.write("go\n")
        talker.stdin.flush()
    for talker in talkers:
        _, errors = talker.communicate(timeout=120)
        assert (talker.returncode, errors) == (0, "")
    with Store.open(file) as store:
        assert store.notices == ()
        for name in names:
            path = store.path(store.session(name).id)
            expected = [text for turn in range(1, 26) for text in (f"{name} asks {turn}", "0 1 2 3 4 ")]
            assert [message.text for message in path] == expected


def test_opening_does_not_disturb_a_reply_that_another_store_writes(file: Path) -> None:
    """`swachat sessions list` in a second terminal, while the first one streams a reply."""
    with Store.open(file) as writer:
        session = writer.new_session(model="m", system=None, settings={}).id
        reply = writer.add_message(session, parent_id=None, turn=1, role="assistant", text="zero ", state="growing")
        writer.append_text(reply, "one ")
        for word in ("two ", "three "):
            with Store.open(file) as other:
                (seen,) = other.path(session)
                assert seen.text == "".join(["zero ", "one ", "two "][: 2 if word == "two " else 3])
                assert seen.state == "stopped"
            writer.append_text(reply, word)
            assert writer.path(session)[0].state == "growing"
        writer.finish_message(reply, state="done", stats={})
        (message,) = writer.path(session)
        assert (message.text, message.state) == ("zero one two three ", "done")
        assert [hit.message_id for hit in writer.search(None, "zero one two three")] == [reply]


def test_only_the_store_that_writes_a_reply_can_add_to_it(file: Path) -> None:
    with Store.open(file) as writer, Store.open(file) as other:
        session = writer.new_session(model="m", system=None, settings={}).id
        reply = writer.add_message(session, parent_id=None, turn=1, role="assistant", state="growing")
        with pytest.raises(StoreError):
            other.append_text(reply, "x")
        assert writer.path(session)[0].text == ""


@pytest.fixture
def locker(file: Path) -> Iterator[sqlite3.Connection]:
    """Another program with the database open."""
    Store.open(file).close()
    db = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    yield db
    db.close()


def test_a_locked_file_is_one_clear_error_and_nothing_is_lost(file: Path, locker: sqlite3.Connection) -> None:
    with Store.open(file, busy_s=0.1) as store:
        session = store.new_session(model="m", system=None, settings={}).id
        reply = store.add_message(session, parent_id=None, turn=1, role="assistant", state="growing")
        store.append_text(reply, "one ")
        locker.execute("BEGIN IMMEDIATE")
        for refused in (
            lambda: store.append_text(reply, "two "),
            lambda: store.finish_message(reply, state="done"),
            lambda: store.add_message(session, parent_id=reply, turn=2, role="user"),
        ):
            with pytest.raises(StoreError) as caught:
                refused()
            assert f"{file} is locked by another program" in caught.value.what
            assert "try again" in caught.value.todo
        assert store.path(session)[0].text == "one "  # reading goes on
        locker.execute("ROLLBACK")
        store.append_text(reply, "two ")
        store.finish_message(reply, state="done")
        assert [message.text for message in store.tree(session)] == ["one two "]


def test_a_file_locked_at_the_start_is_one_clear_error(file: Path, locker: sqlite3.Connection) -> None:
    locker.execute("PRAGMA locking_mode = EXCLUSIVE")
    locker.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreError, match="locked by another program"):
        Store.open(file, busy_s=0.1)
    locker.execute("ROLLBACK")
    locker.close()
    with Store.open(file) as store:
        assert store.notices == ()


def test_a_short_lock_is_waited_for(file: Path, locker: sqlite3.Connection) -> None:
    with Store.open(file, busy_s=10) as store:
        locker.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.2, lambda: locker.execute("COMMIT"))
        release.start()
        store.new_session(model="m", system=None, settings={})
        release.join()
        assert len(store.sessions()) == 1


def test_a_new_file_that_another_process_is_making_is_waited_for(file: Path) -> None:
    """SQLite does not wait by itself where the switch to WAL finds a lock."""
    other = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.2, lambda: other.execute("COMMIT"))
    release.start()
    with Store.open(file, busy_s=10) as store:
        assert store.sessions() == []
    release.join()
    other.close()


def begin_together(file: Path) -> list[BaseException]:
    """Four stores open the file at the same moment, and each begins a conversation; what went wrong."""
    together = threading.Barrier(4)
    failures: list[BaseException] = []

    def begin() -> None:
        together.wait()
        try:
            with Store.open(file, busy_s=10) as store:
                store.new_session(model="m", system=None, settings={})
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=begin) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


def test_stores_that_start_together_on_a_new_file_share_it(tmp_path: Path) -> None:
    """Without a lock around the opening, one in ten took the half-made file for another program's."""
    for number in range(20):
        file = tmp_path / f"{number}.db"
        assert begin_together(file) == []
        with Store.open(file) as store:
            assert len(store.sessions()) == 4


def test_a_damaged_file_is_moved_once_by_repairs_that_start_together(tmp_path: Path) -> None:
    for number in range(20):
        file = tmp_path / f"{number}.db"
        file.write_bytes(b"damaged")
        repairs = [threading.Thread(target=Store.repair, args=(file,)) for _ in range(4)]
        for repair in repairs:
            repair.start()
        for repair in repairs:
            repair.join()
        assert begin_together(file) == []
        assert [found.read_bytes() for found in tmp_path.glob(f"{file.name}.damaged-*")] == [b"damaged"]
        with Store.open(file) as store:
            assert len(store.sessions()) == 4


def test_a_damaged_file_is_not_moved_away_under_another_process(file: Path) -> None:
    """When that process ends, SQLite removes its log by name: it would be the new database's log."""
    with Store.open(file) as store:
        store.new_session(model="m", system=None, settings={})  # now the tables are in the file, not in the log
    with start(HOLDER, str(file)) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == "open\n"
        content = file.read_bytes()
        file.write_bytes(b"damaged" * 10_000)
        with pytest.raises(StoreError, match="is damaged, and still open in another process") as caught:
            Store.repair(file, busy_s=0.1)
        assert "Close the other swachat" in caught.value.todo
        assert [found.name for found in file.parent.glob("*damaged*")] == []
        file.write_bytes(content)
    with Store.open(file) as store:
        assert store.session("held").n_messages == 1


def test_threads_may_share_one_store(file: Path) -> None:
    with Store.open(file) as store:
        failures: list[BaseException] = []

        def talk(name: str) -> None:
            try:
                session = store.new_session(model="m", system=None, settings={}, name=name).id
                reply = store.add_message(session, parent_id=None, turn=1, role="assistant", state="growing")
                for number in range(50):
                    store.append_text(reply, f"{number} ")
                    store.search(None, name)
                store.finish_message(reply, state="done")
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=talk, args=(f"thread {number}",)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failures == []
        assert [store.path(info.id)[0].text for info in store.sessions()] == [
            "".join(f"{number} " for number in range(50))
        ] * 4
