"""One conversation and several programs that want to write to it: they take turns, and none of its turns is lost."""

import os
import re
import signal
from collections.abc import Iterator

import pytest

from chatapp.paths import store_file
from chatapp.store import Store
from tests.support.program import started, swachat
from tests.support.tiny_models import tiny

AT_ONCE = 20


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """A model that takes next to no time."""
    return ("--model", str(tiny("llama", tmp_path_factory.mktemp("model"))), "--ctx", "2048", "--max-tokens", "2")


def test_twenty_at_once_are_one_line_of_twenty_turns(model: tuple[str, ...]) -> None:
    """They begin the conversation at once too, by its name: one of them does."""
    running = [started("ask", f"question {number}", "--session", "shared", *model) for number in range(AT_ONCE)]
    ended = [program.communicate(timeout=240) for program in running]
    assert [program.returncode for program in running] == [0] * AT_ONCE, ended
    with Store.open(store_file()) as store:
        (session,) = store.sessions()
        path = store.path(session.id)
        assert len(store.tree(session.id)) == len(path) == 2 * AT_ONCE
    assert sorted(message.text for message in path if message.role == "user") == sorted(
        f"question {number}" for number in range(AT_ONCE)
    )
    waits = [err.decode() for _, err in ended if err]
    assert waits
    for told in waits:
        assert re.fullmatch(
            r'swachat: Waiting for the conversation "shared": it is open in swachat ask '
            r"\(process \d+, since \d\d:\d\d\)\. Ctrl\+C ends the waiting\.\n",
            told,
        )
    assert list(store_file().parent.glob("*.lock")) == []


# --------------------------------------------------------------------------- held by somebody else


@pytest.fixture
def held() -> Iterator[int]:
    """A conversation of one turn that this process holds; its id."""
    with Store.open(store_file()) as store:
        session = store.new_session(model="starter", system=None, settings={}, name="held", hold=True)
        asked = store.add_message(session.id, parent_id=None, turn=1, role="user", text="Hello")
        store.add_message(session.id, parent_id=asked, turn=1, role="assistant", text="Good day.")
        yield session.id


def test_who_does_not_want_to_wait_is_told_who_holds_it(held: int, model: tuple[str, ...]) -> None:
    ran = swachat("ask", "And?", "--session", "held", "--wait", "0", *model)
    assert (ran.code, ran.out) == (4, b"")
    assert re.fullmatch(
        rf"swachat: Conversation {held} is open in swachat \(process {os.getpid()}, since \d\d:\d\d\)\. "
        r"Close it there, or wait until it is free\.",
        ran.complaint,
    )


def test_ctrl_c_ends_the_waiting(held: int, model: tuple[str, ...]) -> None:
    with started("ask", "And?", "--session", "held", *model) as program:
        assert program.stderr is not None
        told = program.stderr.readline()
        assert f"it is open in swachat (process {os.getpid()}, since ".encode() in told
        program.send_signal(signal.SIGINT)
        out, err = program.communicate(timeout=60)
    assert (program.returncode, out, err) == (130, b"", b"swachat: interrupted\n")


def test_a_conversation_that_is_held_can_be_read_and_not_deleted(held: int) -> None:
    assert b"held" in swachat("sessions", "list").out
    assert "Good day." in swachat("sessions", "export", "held").text
    ran = swachat("sessions", "rm", "held", "--yes")
    assert (ran.code, ran.out) == (4, b"")
    assert f"is open in swachat (process {os.getpid()}, since " in ran.complaint


def test_waiting_is_for_conversations() -> None:
    for words in (("--wait", "1"), ("--wait", "-1", "--session", "x"), ("--wait", "nan", "--session", "x")):
        ran = swachat("ask", "Hello", *words)
        assert (ran.code, ran.out) == (2, b"")
        assert "--wait" in ran.complaint
