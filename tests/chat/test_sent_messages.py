"""Which messages take their tokens along to the engine."""

from hypothesis import given
from hypothesis import strategies as st

from chatapp.chat.sent_messages import for_window
from chatapp.protocol.values import Message


def reply(turn: int, n_tokens: int) -> Message:
    return Message(turn=turn, role="assistant", text="a", tokens=bytes(4 * n_tokens), model="m", reasoning="r")


@given(sizes=st.lists(st.integers(0, 9), max_size=12), n_ctx=st.integers(0, 40), pinned=st.sets(st.integers(0, 12)))
def test_what_a_window_can_hold_has_its_tokens_and_all_have_their_text(
    sizes: list[int], n_ctx: int, pinned: set[int]
) -> None:
    said = [reply(turn, size) for turn, size in enumerate(sizes)]
    sent = for_window(said, n_ctx, pinned)
    assert [(message.turn, message.text) for message in sent] == [(message.turn, message.text) for message in said]
    for message, before in zip(sent, said, strict=True):
        newer = sum(size for turn, size in enumerate(sizes) if turn > message.turn and turn not in pinned)
        if message.turn in pinned or newer < n_ctx:
            assert message == before
        else:
            assert (message.tokens, message.model, message.reasoning) == (b"", "", "")
