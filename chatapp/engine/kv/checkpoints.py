"""States to go back to, where the cache itself cannot: the part that a sliding window or a recurrent state loses.

A cache of sliding layers drops the cells that its window has left behind, and a recurrent state is overwritten with
every token. A checkpoint is what llama.cpp writes of exactly that part (llama.h, LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY),
taken before a turn and before its reply. It is good as long as nothing before it leaves or moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state when the next token was to get position `pos`."""

    pos: int
    state: bytes


def added(checkpoints: Sequence[Checkpoint], new: Checkpoint, most_bytes: int) -> tuple[Checkpoint, ...]:
    """With the new one, and of the others the newest for which `most_bytes` have room; none too large is kept.

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
    """Those that are still good when everything from position `pos` on has left.

    >>> [each.pos for each in until([Checkpoint(5, b""), Checkpoint(9, b"")], 8)]
    [5]
    """
    return tuple(each for each in checkpoints if each.pos <= pos)
