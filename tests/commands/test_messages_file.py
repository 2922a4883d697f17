"""Messages in JSON: what is taken, and what is said of everything else."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.commands.messages_file import parse
from chatapp.errors import UserError

HI = {"role": "user", "content": "Hi"}
BYE = {"role": "assistant", "content": "Bye"}


def of(found: Any) -> Any:
    return parse(json.dumps(found).encode(), "chat.json")


def test_turns_are_counted_and_the_system_prompt_is_apart() -> None:
    found = of([{"role": "system", "content": "Be brief."}, HI, BYE, HI])
    assert found.system == "Be brief."
    assert [(said.turn, said.role, said.text) for said in found.messages] == [
        (1, "user", "Hi"),
        (1, "assistant", "Bye"),
        (2, "user", "Hi"),
    ]
    assert found.messages == of({"model": "m", "messages": [HI, BYE, HI]}).messages


def test_the_parts_of_typed_content_are_one_text() -> None:
    parts = [{"type": "text", "text": "H"}, {"type": "text", "text": "i"}]
    assert of([{"role": "user", "content": parts}]).messages == of([HI]).messages


def test_a_byte_order_mark_is_no_part_of_the_file() -> None:
    assert parse(b"\xef\xbb\xbf" + json.dumps([HI]).encode(), "chat.json").messages == of([HI]).messages


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ("Hi", "chat.json has no list of messages."),
        ({"message": [HI]}, 'chat.json is an object without "messages".'),
        ([], "chat.json has no message of a user."),
        ([{"role": "system", "content": "a"}], "chat.json has no message of a user."),
        ([HI, "Hi"], "chat.json: message 2 is not an object."),
        ([{"content": "Hi"}], 'chat.json: message 1 has no "role".'),
        ([{"role": "user"}], 'chat.json: message 1 has no "content".'),
        ([HI, {"role": "tool", "content": ""}], 'chat.json: message 2: "role" is "tool".'),
        ([{"role": ["user"], "content": ""}], 'chat.json: message 1: "role" is ["user"].'),
        ([{"role": "user", "content": None}], 'chat.json: message 1: "content" is not a string.'),
        ([{"role": "user", "content": ["Hi"]}], 'chat.json: message 1: part 1 of "content" is no text.'),
        (
            [{"role": "user", "content": [{"type": "image", "text": "Hi"}]}],
            'chat.json: message 1: part 1 of "content" is no text.',
        ),
        ([HI, HI], 'chat.json: message 2: "role" is "user" where "assistant" is due.'),
        ([BYE], 'chat.json: message 1: "role" is "assistant" where "user" is due.'),
        ([HI, BYE, BYE], 'chat.json: message 3: "role" is "assistant" where "user" is due.'),
        (
            [HI, {"role": "system", "content": "a"}],
            "chat.json: message 2 is a system prompt, which can only be the first.",
        ),
        (
            [{"role": "user", "content": "a\ud800"}],
            'chat.json: message 1: "content" has half of a surrogate pair, at character 2.',
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_place(found: Any, said: str) -> None:
    with pytest.raises(UserError) as error:
        of(found)
    assert error.value.what == said
    assert error.value.todo


@pytest.mark.parametrize("data", [b"", b"[", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(data: bytes) -> None:
    with pytest.raises(UserError, match=r"^chat.json"):
        parse(data, "chat.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.sampled_from(["user", "assistant", "system"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["role", "content", "messages", "type", "text"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(JSON)
def test_anything_is_a_conversation_or_an_error_for_a_person(found: Any) -> None:
    try:
        messages = of(found).messages
    except UserError:
        return
    assert [said.role for said in messages] == [("user", "assistant")[i % 2] for i in range(len(messages))]
