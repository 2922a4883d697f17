"""Conversations and their messages: what goes into the store comes out of it, in the right order and place."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp.errors import StoreError
from chatapp.store import SessionInfo, Store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "chat.db"


@pytest.fixture
def store(file: Path) -> Iterator[Store]:
    with Store.open(file) as opened:
        yield opened


def begin(store: Store, name: str | None = None) -> SessionInfo:
    return store.new_session(model="starter", system=None, settings={}, name=name)


def texts(store: Store, session: SessionInfo) -> list[str]:
    return [message.text for message in store.path(session.id)]


def test_a_new_conversation_is_kept_with_its_settings(store: Store, file: Path) -> None:
    settings = {"cache": {"n_ctx": 512, "sinks": 4}, "note": "größer\ud800"}
    made = store.new_session(model="a.gguf", system="Be brief.", settings=settings, name="  work  ")
    assert (made.name, made.model, made.system, made.settings) == ("work", "a.gguf", "Be brief.", settings)
    assert (made.title, made.n_messages, made.head_id) == ("", 0, None)
    with Store.open(file) as other:
        assert other.session("work") == made == other.session(made.id) == other.session(str(made.id))
        assert other.find_session("work") == made
        assert other.find_session("play") is None


def test_configure_changes_what_a_conversation_runs_with(store: Store) -> None:
    session = begin(store)
    store.configure(session.id, model="b.gguf", system="Rhyme.", settings={"a": [1, None]})
    changed = store.session(session.id)
    assert (changed.model, changed.system, changed.settings) == ("b.gguf", "Rhyme.", {"a": [1, None]})


def test_an_unknown_name_is_answered_with_the_nearest_ones(store: Store, file: Path) -> None:
    for name in ("holiday plans", "holiday photos", "taxes"):
        begin(store, name)
    with pytest.raises(StoreError) as caught:
        store.session("holiday plan")
    assert str(file) in caught.value.what
    assert '"holiday plans"' in caught.value.todo
    assert "taxes" not in caught.value.todo


@pytest.mark.parametrize("key", [0, -1, 99, 2**63, 10**30, "99", "9" * 5000, "", "²", "\0", "x" * 200, "\ud800"])
def test_a_key_that_finds_nothing_is_one_clear_error(store: Store, key: int | str) -> None:
    begin(store, "one")
    with pytest.raises(StoreError, match="no conversation"):
        store.session(key)


@pytest.mark.parametrize("name", ["", "  ", "12", "a\nb", "\x1b[31m", "x" * 81])
def test_a_name_that_cannot_be_used_is_refused_and_shown_safely(store: Store, name: str) -> None:
    session = begin(store, "old")
    with pytest.raises(StoreError) as caught:
        store.rename(session.id, name)
    assert "\x1b" not in str(caught.value)
    with pytest.raises(StoreError):
        begin(store, name)
    assert [info.name for info in store.sessions()] == ["old"]


def test_a_taken_name_is_refused(store: Store) -> None:
    begin(store, "one")
    other = begin(store, "two")
    with pytest.raises(StoreError, match="has that name"):
        store.rename(other.id, "one")
    with pytest.raises(StoreError, match="has that name"):
        begin(store, " one ")
    store.rename(other.id, None)
    assert store.session(other.id).name is None


def test_sessions_come_in_the_order_in_which_they_were_written_to(store: Store) -> None:
    first, second, third = (begin(store) for _ in range(3))
    store.add_message(first.id, parent_id=None, turn=1, role="user", text="late")
    assert [info.id for info in store.sessions()] == [first.id, third.id, second.id]
    assert [info.id for info in store.sessions(limit=1)] == [first.id]


def test_the_last_session_is_one_that_has_messages(store: Store) -> None:
    assert store.last_session() is None
    session = begin(store)
    store.add_message(session.id, parent_id=None, turn=1, role="user", text="hello")
    begin(store)
    last = store.last_session()
    assert last is not None
    assert last.id == session.id


def test_the_title_is_the_first_thing_a_person_wrote_on_one_line(store: Store) -> None:
    session = begin(store)
    store.add_message(session.id, parent_id=None, turn=1, role="user", text="  a\n\tb  " + "c" * 1000)
    title = store.session(session.id).title
    assert title.startswith("a b ccc")
    assert len(title) == 80


def test_undo_regenerate_and_edit_are_branches_and_lose_nothing(store: Store) -> None:
    session = begin(store)
    question = store.add_message(session.id, parent_id=None, turn=1, role="user", text="q")
    first = store.add_message(session.id, parent_id=question, turn=1, role="assistant", text="a1")
    second = store.add_message(session.id, parent_id=question, turn=1, role="assistant", text="a2")
    assert texts(store, session) == ["q", "a2"]
    edited = store.add_message(session.id, parent_id=None, turn=1, role="user", text="Q")
    assert texts(store, session) == ["Q"]
    store.set_head(session.id, None)
    assert texts(store, session) == []
    store.set_head(session.id, first)
    assert texts(store, session) == ["q", "a1"]
    assert store.beside(session.id, (question, "assistant")) == (first, second)
    assert store.beside(session.id, (None, "user")) == (question, edited)
    assert store.forks(session.id) == {(question, "assistant"): (first, second), (None, "user"): (question, edited)}
    assert [message.id for message in store.tree(session.id)] == [question, first, second, edited]
    assert store.session(session.id).n_messages == 4


def test_alternatives_stay_within_their_conversation(store: Store) -> None:
    one, two = begin(store), begin(store)
    root = store.add_message(one.id, parent_id=None, turn=1, role="user", text="1")
    store.add_message(two.id, parent_id=None, turn=1, role="user", text="2")
    assert store.beside(one.id, (None, "user")) == (root,)
    assert store.beside(999, (None, "user")) == ()
    assert store.forks(one.id) == {}


def test_a_pin_stays_with_its_message_on_every_branch(store: Store, file: Path) -> None:
    session = begin(store)
    first = store.add_message(session.id, parent_id=None, turn=1, role="user", text="first")
    other = store.add_message(session.id, parent_id=None, turn=1, role="user", text="other")
    store.set_pinned(first, True)
    with Store.open(file) as again:
        assert [(message.id, message.pinned) for message in again.tree(session.id)] == [(first, True), (other, False)]
        again.set_head(session.id, first)
    assert [message.pinned for message in store.path(session.id)] == [True]
    assert store.export(session.id)["messages"][0]["pinned"] is True
    store.set_pinned(first, False)
    assert not store.path(session.id)[0].pinned


def replied(store: Store, session: SessionInfo) -> int:
    """A reply whose model thought before it, with its tokens; its id."""
    asked = store.add_message(session.id, parent_id=None, turn=1, role="user", text="q")
    reply = store.add_message(session.id, parent_id=asked, turn=1, role="assistant", state="growing")
    store.append_text(reply, "", "Is it ")
    store.append_text(reply, "", "so? \ud800")
    store.append_text(reply, "Yes.")
    store.finish_message(reply, state="done", tokens=TOKENS, model="digest")
    return reply


TOKENS = b"\1\0\0\0\2\0\0\0"
THOUGHT = "Is it so? \ufffd"


def test_a_reply_keeps_its_tokens_and_what_was_thought_before_it(store: Store, file: Path) -> None:
    """On every branch, in a copy, after a crash, and apart from its text."""
    session = begin(store)
    replied(store, session)
    copied = store.branch_off(session.id)
    with Store.open(file) as again:
        for where in (session, copied):
            asked, reply = again.path(where.id)
            assert (reply.text, reply.reasoning, reply.tokens, reply.model) == ("Yes.", THOUGHT, TOKENS, "digest")
            assert (asked.reasoning, asked.tokens, asked.model) == ("", b"", "")
            assert reply.damage == ()
        assert again.search(None, "so") == []


def test_thoughts_are_stored_as_they_grow(store: Store, file: Path) -> None:
    """And a reply that has nothing else yet is one of the alternatives."""
    session = begin(store)
    asked = store.add_message(session.id, parent_id=None, turn=1, role="user", text="q")
    replies = [
        store.add_message(session.id, parent_id=asked, turn=1, role="assistant", state="growing") for _ in range(2)
    ]
    for reply in replies:
        store.append_text(reply, "", "Is it")
    assert store.path(session.id)[-1].reasoning == "Is it"
    assert store.beside(session.id, (asked, "assistant")) == tuple(replies)
    with Store.open(file) as after_a_crash:
        reply = after_a_crash.path(session.id)[-1]
        assert (reply.text, reply.reasoning, reply.state) == ("", "Is it", "stopped")
        assert after_a_crash.beside(session.id, (asked, "assistant")) == tuple(replies)
    store.append_text(replies[1], "", " so?")
    store.finish_message(replies[1], state="done")
    assert store.path(session.id)[-1].reasoning == "Is it so?"


@pytest.mark.parametrize(
    "damage",
    [
        "tokens = NULL",
        "tokens = x''",
        "tokens = x'010203'",
        "tokens = 'abcd'",
        "tokens = 7",
        "tokens = zeroblob(16777220)",
        "model = NULL",
        "model = ''",
        "model = x'6d'",
        "model = CAST(x'6dff' AS TEXT)",
        "model = printf('%300d', 1)",
        "role = 'user'",
    ],
)
def test_tokens_that_are_not_whole_are_not_there(store: Store, file: Path, damage: str) -> None:
    """The text says the same, so nobody is told of it."""
    session = begin(store)
    reply = replied(store, session)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute(f"UPDATE message SET {damage} WHERE id = ?", (reply,))
    found = store.path(session.id)[-1]
    assert (found.text, found.reasoning, found.tokens, found.model) == ("Yes.", THOUGHT, b"", "")
    assert found.damage == ()


def test_damaged_thoughts_are_shown_as_far_as_they_can_be_read(store: Store, file: Path) -> None:
    session = begin(store)
    replied(store, session)
    with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as db:
        db.execute("UPDATE message SET reasoning = CAST(x'49ff' AS TEXT) WHERE reasoning <> ''")
    found = store.path(session.id)[-1]
    assert (found.text, found.reasoning, found.damage) == ("Yes.", "I\ufffd", ("reasoning",))


def test_a_damaged_file_gives_back_tokens_and_thoughts(store: Store, file: Path) -> None:
    session = begin(store)
    replied(store, session)
    growing = store.add_message(session.id, parent_id=None, turn=1, role="assistant", state="growing")
    store.append_text(growing, "N", "Was ")
    store.append_text(growing, "o.", "it?")
    store.close()
    content = bytearray(file.read_bytes())
    content[content.index(b"message_by_parent")] ^= 0x80
    file.write_bytes(content)
    assert Store.repair(file) is not None
    with Store.open(file) as mended:
        _, reply, grown = mended.tree(session.id)
    assert (reply.text, reply.reasoning, reply.tokens, reply.model) == ("Yes.", THOUGHT, TOKENS, "digest")
    assert (grown.text, grown.reasoning) == ("No.", "Was it?")


def test_a_message_cannot_hang_below_another_conversation(store: Store) -> None:
    one, two = begin(store), begin(store)
    root = store.add_message(one.id, parent_id=None, turn=1, role="user", text="1")
    with pytest.raises(StoreError, match="not in"):
        store.add_message(two.id, parent_id=root, turn=1, role="assistant", text="lost?")
    with pytest.raises(StoreError, match="not in"):
        store.set_head(two.id, root)
    assert store.tree(two.id) == []
    assert store.session(two.id).head_id is None


def test_a_reply_grows_piece_by_piece_and_ends_once(store: Store) -> None:
    session = begin(store)
    reply = store.add_message(session.id, parent_id=None, turn=1, role="assistant", state="growing")
    pieces = ["a", "", "\0", "é", "\n", "\x1b[31m", "漢"]
    for number, piece in enumerate(pieces):
        store.append_text(reply, piece)
        (message,) = store.path(session.id)
        assert (message.text, message.state, message.stats) == ("".join(pieces[: number + 1]), "growing", None)
    store.finish_message(reply, state="done", stats={"decode_tok_s": 61.5, "ttft_s": None})
    (message,) = store.path(session.id)
    assert (message.text, message.state) == ("".join(pieces), "done")
    assert message.stats == {"decode_tok_s": 61.5, "ttft_s": None}
    with pytest.raises(StoreError, match="not a reply being written"):
        store.append_text(reply, "more")
    with pytest.raises(StoreError, match="not a reply being written"):
        store.finish_message(reply, state="failed")
    assert store.path(session.id) == [message]


def test_half_surrogates_are_replaced_and_whole_ones_kept(store: Store) -> None:
    """A pasted file name may hold a lone surrogate, which UTF-8 cannot: the turn must not be lost for it."""
    session = begin(store)
    store.add_message(session.id, parent_id=None, turn=1, role="user", text="a\udc80b 😀 \ud83d\ude00")
    assert texts(store, session) == ["a\ufffdb 😀 😀"]


def test_recent_prompts_are_the_persons_own_words_newest_last(store: Store) -> None:
    session = begin(store)
    for turn in (1, 2, 3):
        store.add_message(session.id, parent_id=None, turn=turn, role="user", text=f"prompt {turn}")
        store.add_message(session.id, parent_id=None, turn=turn, role="assistant", text="reply")
    assert store.recent_prompts(2) == ["prompt 2", "prompt 3"]


def test_what_is_deleted_is_gone_for_every_method(store: Store) -> None:
    gone, kept = begin(store), begin(store)
    reply = store.add_message(gone.id, parent_id=None, turn=1, role="assistant", state="growing")
    other = store.add_message(kept.id, parent_id=None, turn=1, role="user", text="kept")
    store.delete_session(gone.id)
    for refused in (
        lambda: store.append_text(reply, "x"),
        lambda: store.finish_message(reply, state="done"),
        lambda: store.add_message(gone.id, parent_id=reply, turn=1, role="user", text="x"),
        lambda: store.path(gone.id),
        lambda: store.tree(gone.id),
        lambda: store.set_head(gone.id, None),
        lambda: store.set_pinned(reply, True),
        lambda: store.rename(gone.id, "x"),
        lambda: store.configure(gone.id, model="", system=None, settings={}),
        lambda: store.delete_session(gone.id),
    ):
        with pytest.raises(StoreError, match="another swachat may have deleted it"):
            refused()
    assert [message.id for message in store.path(kept.id)] == [other]


def test_an_id_is_never_used_again(store: Store) -> None:
    """A reply still arriving for a deleted conversation must not end up in a newer one."""
    session = begin(store)
    message = store.add_message(session.id, parent_id=None, turn=1, role="user", text="x")
    store.delete_session(session.id)
    again = begin(store)
    assert again.id > session.id
    assert store.add_message(again.id, parent_id=None, turn=1, role="user", text="x") > message


def test_deleting_wipes_the_text_from_the_files(store: Store, file: Path) -> None:
    session = begin(store)
    kept = begin(store)
    store.add_message(session.id, parent_id=None, turn=1, role="user", text="secretword " * 3000)
    reply = store.add_message(session.id, parent_id=None, turn=1, role="assistant", state="growing")
    for _ in range(100):
        store.append_text(reply, "secretword ")
    store.add_message(kept.id, parent_id=None, turn=1, role="user", text="ordinary")
    assert on_disk(file, b"secretword")
    store.delete_session(session.id)
    assert not on_disk(file, b"secretword")
    assert on_disk(file, b"ordinary")


def on_disk(file: Path, text: bytes) -> bool:
    return any(text in found.read_bytes() for found in file.parent.iterdir())


def test_a_closed_store_says_so(file: Path) -> None:
    store = Store.open(file)
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        store.sessions()
