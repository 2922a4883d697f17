"""What is kept of every turn that was answered: 16 bytes, in blocks that all branches of a conversation hold together.

A conversation grows by a turn at a time, and each branch is a value of its own. As one string it would be copied whole
for every turn, in ever larger pieces; here a turn copies a block at most.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

RECORD_BYTES: Final = 16
BLOCK_BYTES: Final = 256 * RECORD_BYTES


@dataclass(frozen=True, slots=True)
class Records:
    """A sequence of records. `blocks` are full ones, `tail` is what does not fill one.

    >>> three = Records().and_([b"a" * 16, b"b" * 16, b"c" * 16])
    >>> len(three), three[-1] == b"c" * 16, three.first(2) == Records().and_([b"a" * 16, b"b" * 16])
    (3, True, True)
    """

    blocks: tuple[bytes, ...] = ()
    tail: bytes = b""

    def and_(self, records: Iterable[bytes]) -> "Records":
        """With these behind it."""
        blocks, tail = list(self.blocks), self.tail + b"".join(records)
        while len(tail) >= BLOCK_BYTES:
            blocks.append(tail[:BLOCK_BYTES])
            tail = tail[BLOCK_BYTES:]
        return Records(tuple(blocks), tail)

    def first(self, count: int) -> "Records":
        """The first `count` of them."""
        n_blocks, rest = divmod(max(0, count) * RECORD_BYTES, BLOCK_BYTES)
        if n_blocks >= len(self.blocks):
            return Records(self.blocks, self.tail[:rest] if n_blocks == len(self.blocks) else self.tail)
        return Records(self.blocks[:n_blocks], self.blocks[n_blocks][:rest])

    def common(self, other: "Records") -> int:
        """How many both begin with."""
        same = 0
        for a, b in zip(self._parts(), other._parts(), strict=False):
            if a is b or a == b:
                same += len(a)
                continue
            both = range(0, min(len(a), len(b)), RECORD_BYTES)
            same += next((at for at in both if a[at : at + RECORD_BYTES] != b[at : at + RECORD_BYTES]), both.stop)
            break
        return same // RECORD_BYTES

    def _parts(self) -> tuple[bytes, ...]:
        return (*self.blocks, self.tail)

    def __len__(self) -> int:
        return (len(self.blocks) * BLOCK_BYTES + len(self.tail)) // RECORD_BYTES

    def __iter__(self) -> Iterator[bytes]:
        for part in self._parts():
            for at in range(0, len(part), RECORD_BYTES):
                yield part[at : at + RECORD_BYTES]

    def __getitem__(self, index: int) -> bytes:
        at = range(len(self))[index] * RECORD_BYTES
        block, at = divmod(at, BLOCK_BYTES)
        return self._parts()[block][at : at + RECORD_BYTES]

    def __bytes__(self) -> bytes:
        """All of them in one piece."""
        return b"".join(self._parts())
