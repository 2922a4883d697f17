"""One writer for each conversation: who else writes is told who holds it, and nothing of his is stored."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from chatapp.errors import StoreError
from chatapp.store import HeldError, Store

ROOT = Path(__file__).parents[2]
HOLDER = """
import sys
from pathlib import Path
from chatapp.store import Store

with Store.open(Path(sys.argv[1])) as store:
    store.locks.program = "another"
    store.locks.hold(1)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A database with one conversation of one turn."""
    with Store.open(tmp_path / "chat.db") as store:
        session = store.new_session(model="m", system=None, settings={}, name="talk").id
        asked = store.add_message(session, parent_id=None, turn=1, role="user", text="Hello")
        store.add_message(session, parent_id=asked, turn=1, role="assistant", text="Good day.")
    return tmp_path / "chat.db"


WRITES: dict[str, Callable[[Store], Any]] = {
    "a message": lambda store: store.add_message(1, parent_id=2, turn=2, role="user", text="And?"),
    "another head": lambda store: store.set_head(1, 1),
    "a pin": lambda store: store.set_pinned(1, True),
    "a name": lambda store: store.rename(1, "other"),
    "other settings": lambda store: store.configure(1, model="n", system=None, settings={}),
    "a deletion": lambda store: store.delete_session(1),
    "a draft": lambda store: store.drafts.write(1, "And?"),
}


@pytest.mark.parametrize("write", WRITES.values(), ids=WRITES)
def test_nobody_else_writes_to_a_conversation_that_is_held(file: Path, write: Callable[[Store], Any]) -> None:
    """Not one of the ways to write gets past; reading does; and once it is released, all of them do."""
    with Store.open(file) as holder, Store.open(file) as other:
        holder.locks.hold(1)
        before = other.export(1)
        with pytest.raises(HeldError) as caught:
            write(other)
        assert (caught.value.exit_code, caught.value.holder.pid) == (4, os.getpid())
        assert other.export(1) == before
        holder.locks.release(1)
        write(other)
        assert list(file.parent.glob("*.lock")) == []


def test_a_lock_goes_away_with_a_killed_process_and_tells_who_holds_it(file: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(file)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process, Store.open(file) as store:
        assert process.stdout is not None
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(HeldError, match=rf"open in another \(process {process.pid}, since \d\d:\d\d\)"):
            store.locks.hold(1)
        (lock,) = file.parent.glob("*.lock")
        assert stat.S_IMODE(lock.stat().st_mode) == 0o600
        process.send_signal(signal.SIGKILL)
        process.wait()
        store.locks.hold(1)


def test_conversations_and_databases_do_not_clash(file: Path, tmp_path: Path) -> None:
    with Store.open(file) as store, Store.open(file) as other, Store.open(tmp_path / "second.db") as second:
        store.locks.hold(1)
        other.locks.hold(2)
        second.locks.hold(1)


def test_the_same_database_by_another_path_is_the_same(file: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(file.parent)
    with Store.open(file) as store, Store.open(tmp_path / "linked" / file.name) as other:
        store.locks.hold(1)
        with pytest.raises(HeldError):
            other.locks.hold(1)


def test_a_write_does_not_release_what_is_held(file: Path) -> None:
    with Store.open(file) as store, Store.open(file) as other:
        with store.locks.writing(1):
            store.locks.hold(1)
        store.set_pinned(1, True)
        with pytest.raises(HeldError):
            other.locks.hold(1)
        with store.locks.writing(1):
            store.locks.release(1)
            with pytest.raises(HeldError):
                other.locks.hold(1)
        other.locks.hold(1)


def test_a_new_conversation_is_held_from_the_first_moment(file: Path) -> None:
    with Store.open(file) as store, Store.open(file) as other:
        made = store.new_session(model="m", system=None, settings={}, name="new", hold=True)
        with pytest.raises(HeldError):
            other.locks.hold(made.id)


@pytest.mark.parametrize(
    "said",
    [b"", b"{", b"[[" * 90, b"\xff", b"null", b'{"pid": -1, "program": "x", "since": 1.0}',
     b'{"pid": 1, "program": "\\u001b[2J", "since": 1.0}', b'{"pid": 1, "program": "x", "since": 1e300}',
     b'{"pid": 1, "program": "x", "since": NaN}', b'{"pid": 1, "program": ["x"], "since": "now"}'],
)  # fmt: skip
def test_what_stands_in_a_lock_is_only_told(file: Path, said: bytes) -> None:
    """It is a file like any other: a damaged one names nobody."""
    with Store.open(file) as store, Store.open(file) as other:
        store.locks.hold(1)
        (lock,) = file.parent.glob("*.lock")
        lock.write_bytes(said)
        with pytest.raises(HeldError, match="is open in another program\\."):
            other.locks.hold(1)


def test_where_no_lock_can_be_made_nothing_is_written_and_all_can_be_read(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder in the way of the lock stands for a place that is read-only, which root could still write to."""
    (file.parent / "chat.db-1.lock").mkdir()
    with Store.open(file) as store:
        with pytest.raises(StoreError, match="Cannot lock conversation 1"):
            store.set_pinned(1, True)
        assert [message.pinned for message in store.path(1)] == [False, False]


def test_a_branch_is_copied_as_it_stands(file: Path) -> None:
    """Of a conversation that another program is writing to: the new one is held here, and has all that is stored."""
    with Store.open(file) as holder, Store.open(file) as other:
        holder.locks.hold(1)
        holder.set_pinned(1, True)
        asked = holder.add_message(1, parent_id=2, turn=2, role="user", text="And?")
        reply = holder.add_message(1, parent_id=asked, turn=2, role="assistant", state="growing")
        holder.append_text(reply, "I am ")
        holder.append_text(reply, "wri")
        copy = other.branch_off(1)
        holder.append_text(reply, "ting.")
        assert (copy.name, copy.model, copy.n_messages) == (None, "m", 4)
        assert [(said.text, said.state, said.pinned) for said in other.path(copy.id)] == [
            ("Hello", "done", True), ("Good day.", "done", False),
            ("And?", "done", False), ("I am wri", "stopped", False),
        ]  # fmt: skip
        assert other.search(copy.id, "wri")
        with pytest.raises(HeldError):
            holder.locks.hold(copy.id)
        with pytest.raises(StoreError):
            other.branch_off(99)
