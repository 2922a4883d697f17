"""The records of a conversation, against a plain list of them."""

from hypothesis import given
from hypothesis import strategies as st

from chatapp.engine.session.turn_hashes import BLOCK_BYTES, RECORD_BYTES, Records

BLOCK = BLOCK_BYTES // RECORD_BYTES
Sizes = st.integers(0, 3 * BLOCK)


def some(count: int, kind: int = 0) -> list[bytes]:
    """Records that all differ, also from those of another kind."""
    return [bytes([kind]) + i.to_bytes(RECORD_BYTES - 1) for i in range(count)]


@given(n=Sizes, more=st.lists(Sizes, max_size=3))
def test_it_is_the_list_of_what_was_put_in(n: int, more: list[int]) -> None:
    """However it came: at once, in pieces, and one by one; equal lists are equal values."""
    whole, listed = Records().and_(some(n)), some(n)
    for kind, count in enumerate(more, 1):
        whole, listed = whole.and_(some(count, kind)), listed + some(count, kind)
    assert (list(whole), len(whole), bytes(whole)) == (listed, len(listed), b"".join(listed))
    assert whole == Records().and_(listed)
    for index in {0, len(listed) // 2, len(listed) - 1, -1, -len(listed)} if listed else ():
        assert whole[index] == listed[index]


@given(n=Sizes, kept=Sizes, other=Sizes)
def test_two_branches_share_what_they_begin_with(n: int, kept: int, other: int) -> None:
    """The first records are those of the list; a branch that goes on elsewhere begins with them, and no more."""
    trunk = Records().and_(some(n))
    first = trunk.first(kept)
    assert list(first) == some(n)[:kept]
    branch = first.and_(some(other, 1))
    assert branch.common(trunk) == trunk.common(branch) == min(kept, n)
    assert trunk.common(trunk) == n
    full = min(kept, n) // BLOCK
    assert all(a is b for a, b in zip(branch.blocks[:full], trunk.blocks[:full], strict=True))


def test_one_more_turn_copies_a_block_at_most() -> None:
    """Of a conversation of 10,000 turns all but the last block is the very same memory."""
    long = Records().and_(some(10_000))
    longer = long.and_(some(1, 1))
    assert all(a is b for a, b in zip(longer.blocks, long.blocks, strict=True))
    assert len(longer.tail) < BLOCK_BYTES
