"""Search: finds what was written, and takes every text as plain words."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chatapp.store import Store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store.open(tmp_path_factory.mktemp("search") / "chat.db") as opened:
        yield opened


@pytest.fixture(scope="module")
def ids(store: Store) -> list[int]:
    """Two conversations: one about cats in two messages, one about a café in one."""
    cats = store.new_session(model="m", system=None, settings={}, name="cats").id
    cafe = store.new_session(model="m", system=None, settings={}).id
    return [
        store.add_message(cats, parent_id=None, turn=1, role="user", text="The cat is on a chair"),
        store.add_message(cats, parent_id=None, turn=1, role="assistant", text="Cats do.\nThe\tcat AND the dog: cat!"),
        store.add_message(cafe, parent_id=None, turn=1, role="user", text='Das Café "Zur Katze" is on the corner'),
    ]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("chair", [0]),
        ("CHAIR", [0]),
        ("cha", [0]),  # the last word may be only begun
        ("cha is", []),  # the others may not
        ("is on", [0, 2]),
        ("cafe", [2]),
        ('zur "katze"', [2]),
        ("cat and", [1]),
        ("cat AND dog", [1]),
        ("cat NOT dog", []),  # NOT is a word like any other
        ("text: cat", []),
        ("", []),
        (" \t\n", []),
        ("???", []),
        ("??? chair", [0]),
        ("missing", []),
    ],
)
def test_words_are_found(store: Store, ids: list[int], text: str, found: list[int]) -> None:
    assert sorted(hit.message_id for hit in store.search(None, text)) == [ids[number] for number in found]


def test_a_hit_says_where_it_is(store: Store, ids: list[int]) -> None:
    first, *_ = store.search(None, "dog")
    assert (first.session_name, first.message_id, first.turn, first.role) == ("cats", ids[1], 1, "assistant")
    assert first.snippet == "Cats do. The cat AND the dog: cat!"


def test_one_conversation_can_be_searched_alone(store: Store, ids: list[int]) -> None:
    cats, cafe = (store.search(None, word)[0].session_id for word in ("chair", "katze"))
    assert [hit.message_id for hit in store.search(cats, "is on")] == [ids[0]]
    assert [hit.message_id for hit in store.search(cafe, "is on")] == [ids[2]]


def test_the_limit_keeps_the_best(store: Store, ids: list[int]) -> None:
    assert [hit.message_id for hit in store.search(None, "cat", limit=1)] == [ids[1]]


@settings(deadline=None, max_examples=300)
@given(
    text=st.text()
    | st.text(alphabet='"*^():+-{}\\\0 \n,.ab')
    | st.lists(st.sampled_from(["AND", "OR", "NOT", "NEAR(", '"', '""', "*", "cat", "text:", "^", "\0", "\ud800"])).map(
        " ".join
    )
)
def test_no_text_is_query_syntax(store: Store, ids: list[int], text: str) -> None:
    """FTS5 has operators, column filters, and a C string's end; none of them may raise or widen the search."""
    words = {word.lower() for word in text.split()}
    found = {hit.message_id for hit in store.search(None, text)}
    assert found <= set(ids)
    if "missing" in words or not words:
        assert not found


def test_a_pasted_page_is_no_error(store: Store) -> None:
    assert store.search(None, " ".join(f"word{number}" for number in range(20_000))) == []


def test_a_growing_reply_is_found_when_it_has_ended(tmp_path: Path) -> None:
    with Store.open(tmp_path / "chat.db") as store:
        session = store.new_session(model="m", system=None, settings={}).id
        reply = store.add_message(session, parent_id=None, turn=1, role="assistant", state="growing")
        store.append_text(reply, "zan")
        store.append_text(reply, "zibar")
        assert store.search(None, "zanzibar") == []
        store.finish_message(reply, state="stopped")
        assert [hit.message_id for hit in store.search(None, "zanzibar")] == [reply]
