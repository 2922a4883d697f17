"""Whether a growing text is inside a code fence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.thinking.fence import Fence


def fenced(*pieces: str) -> bool:
    fence = Fence()
    for piece in pieces:
        fence.feed(piece.encode())
    return fence.is_open


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("", False),
        ("a ```b", False),
        ("```", True),
        ("```py\n", True),
        ("``` a`b\n", False),
        ("   ~~~ a`b\n", True),
        ("    ```\n", False),
        ("```\na\n``` ", False),
        ("```\na\n```b\n", True),
        ("````\n```\n", True),
        ("~~~\n```\n", True),
        ("```\r\na\r\n```\r\n", False),
    ],
)
def test_a_fence_is_open_until_its_own_mark_closes_it(text: str, inside: bool) -> None:
    assert fenced(text) == inside


@given(st.lists(st.sampled_from(["```", "~~~", "`", "\n", " ", "a", "\r\n"])))
def test_any_cutting_gives_the_same(pieces: list[str]) -> None:
    assert fenced(*pieces) == fenced("".join(pieces))
