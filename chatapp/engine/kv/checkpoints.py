"""Saved states to go back to where the cache cannot be cut: the part that a sliding window or a recurrent state loses.

Sliding layers reuse the cells that are behind their window, and a recurrent state is overwritten by every token. A
checkpoint is llama.cpp's copy of exactly that part (llama.h, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY), taken before a turn
and before its reply. It is valid until something before it is evicted or shifted.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state before the token at position `pos`."""

    pos: int
    state: bytes


def added(checkpoints: Sequence[Checkpoint], new: Checkpoint, most_bytes: int) -> tuple[Checkpoint, ...]:
    """The new checkpoint and the newest of the others that fit into `most_bytes` together; none where it does not fit.

    >>> three = [Checkpoint(pos, bytes(10)) for pos in (5, 9, 20)]
    >>> [each.pos for each in added(three[:2], three[2], 25)]
    [9, 20]
    >>> added([], three[0], 9)
    ()
    """
    kept: list[Checkpoint] = []
    for each in [new, *(old for old in reversed(checkpoints) if old.pos < new.pos)]:
        most_bytes -= len(each.state)
        if most_bytes < 0:
            break
        kept.append(each)
    return tuple(reversed(kept))


def until(checkpoints: Sequence[Checkpoint], pos: int) -> tuple[Checkpoint, ...]:
    """Those that are still valid when everything from position `pos` on is removed.

    >>> [each.pos for each in until([Checkpoint(5, b""), Checkpoint(9, b"")], 8)]
    [5]
    """
    return tuple(each for each in checkpoints if each.pos <= pos)
