"""The picture of the KV cache, as data: which tokens each block of the map stands for. Pure; nothing is drawn here.

A map has one block for `group_size` cells. Cells are ordered by position, not by address: a new token takes any free
cell, and attention does not care which. Every block knows exactly what it holds, so that a map too small for its cache
can still give exact counts.

Everything is worked out from runs, never cell by cell, so that 131,072 cells cost no more than 512.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from operator import attrgetter
from typing import NamedTuple, cast

from chatapp.protocol.events import Snapshot
from chatapp.protocol.values import CellRun


class BlockKind(StrEnum):
    """What a cell holds. The order decides between two kinds with equal shares of a block."""

    SINK = "sink"
    """One of the first tokens, which are never evicted."""
    SYSTEM = "system"
    """The system prompt where it is not a sink (policies that protect nothing)."""
    PINNED = "pinned"
    """A turn that the person has pinned."""
    RECALLED = "recalled"
    """An evicted turn that was recalled."""
    PARTIAL = "partial"
    """A turn of which some tokens were evicted."""
    TURN_A = "turn-a"
    """A turn with an odd number."""
    TURN_B = "turn-b"
    """A turn with an even number."""
    OUTSIDE = "outside"
    """A cell of the sliding-window layers outside the window; what it holds, if anything, is not seen."""
    ELSEWHERE = "elsewhere"
    """A cell that only another branch of the conversation holds."""
    UNSEEN = "unseen"
    """A cell that the sampled token does not see. What it holds, if anything, is not known."""
    STRAY = "stray"
    """A cell whose position is in no run of the ledger: a mismatch."""
    FREE = "free"
    """An empty cell."""


_KEPT = {kind.value: kind for kind in (BlockKind.SINK, BlockKind.PINNED, BlockKind.RECALLED)}
_TURNS = (BlockKind.TURN_B, BlockKind.TURN_A)
_RANK = {kind: rank for rank, kind in enumerate(BlockKind)}


class BlockPart(NamedTuple):
    """Neighbouring cells that hold the same thing: `n` tokens of one message from position `pos` on, or nothing."""

    kind: BlockKind
    n: int
    turn: int | None = None
    role: str | None = None
    pos: int | None = None

    def same_as(self, other: "BlockPart") -> bool:
        """True if both belong to one message and are drawn alike."""
        return self.kind is other.kind and self.turn == other.turn and self.role == other.role

    def cut(self, skip: int, n: int) -> "BlockPart":
        """`n` of its cells, after the first `skip`."""
        return new_part(self.kind, n, self.turn, self.role, None if self.pos is None else self.pos + skip)


def new_part(
    kind: BlockKind, n: int, turn: int | None = None, role: str | None = None, pos: int | None = None
) -> BlockPart:
    """A Part. NamedTuple's own constructor takes twice as long, and a map of 131,072 cells has thousands of parts."""
    return _new(BlockPart, (kind, n, turn, role, pos))


_new = cast(Callable[[type[BlockPart], tuple[object, ...]], BlockPart], tuple.__new__)  # pyright: ignore[reportUnknownMemberType]


class Group(NamedTuple):
    """One block of the map: cells start .. start + n - 1 and what they hold, in order of position."""

    start: int
    parts: tuple[BlockPart, ...]
    head: bool = False
    """The next token goes here: the first free cell, or the last cell of a full cache."""

    @property
    def n(self) -> int:
        """Cells in this block."""
        return sum(part.n for part in self.parts)

    @property
    def sinks(self) -> int:
        """Sinks in this block, however few."""
        return sum(part.n for part in self.parts if part.kind is BlockKind.SINK)

    @property
    def mixed(self) -> bool:
        """True if the block stands for more than one message, or for a message and free cells."""
        first = self.parts[0]
        return any(not part.same_as(first) for part in self.parts)

    @property
    def stretches(self) -> list[tuple[int, int]]:
        """The positions that its cells hold, in cell order: the first of each contiguous stretch, and its length."""
        found: list[tuple[int, int]] = []
        for part in self.parts:
            if part.pos is None:
                continue
            if found and part.pos == found[-1][0] + found[-1][1]:
                found[-1] = (found[-1][0], found[-1][1] + part.n)
            else:
                found.append((part.pos, part.n))
        return found

    @property
    def counts(self) -> dict[BlockKind, int]:
        """Exact numbers of cells by kind."""
        return tally(self.parts)

    @property
    def main(self) -> BlockPart:
        """The message (or free space) with the most cells; on a tie, the kind that comes first in `BlockKind`."""
        if len(self.parts) == 1:
            return self.parts[0]
        if len(self.parts) == 2:  # like most blocks of a map that is too small for its cache
            a, b = self.parts
            if not a.same_as(b):
                return b if (b.n, -_RANK[b.kind]) > (a.n, -_RANK[a.kind]) else a
        sums: dict[tuple[BlockKind, int | None, str | None], int] = {}
        begins: dict[tuple[BlockKind, int | None, str | None], BlockPart] = {}
        for part in self.parts:
            kind, n, turn, role, _ = part
            message = kind, turn, role
            if message in sums:
                sums[message] += n
            else:
                sums[message], begins[message] = n, part
        best, most = next(iter(sums)), 0
        for message, n in sums.items():
            if n > most or (n == most and _RANK[message[0]] < _RANK[best[0]]):
                best, most = message, n
        return begins[best] if begins[best].n == most else begins[best]._replace(n=most)

    @property
    def kind(self) -> BlockKind:
        """What most of the block's cells hold."""
        counts = self.counts
        return max(counts, key=lambda kind: (counts[kind], -_RANK[kind]))


Picture = Callable[[int, int], list[Group]]
"""(columns, rows) -> blocks, at most as many as fit."""


@dataclass(frozen=True, slots=True)
class GhostMark:
    """An evicted turn in the strip before the map: one column for each digit of its token count (a log scale)."""

    turn: int
    tokens: int
    whole: bool

    @property
    def width(self) -> int:
        """Columns."""
        return len(str(self.tokens))


def tally(parts: Iterable[BlockPart]) -> dict[BlockKind, int]:
    """Cells by kind."""
    counts: dict[BlockKind, int] = {}
    for part in parts:
        counts[part.kind] = counts.get(part.kind, 0) + part.n
    return counts


def kind_of(run: CellRun, partly_gone: frozenset[int]) -> BlockKind:
    """What the cells of a run count as; `partly_gone` are the turns that were evicted in part."""
    kept = _KEPT.get(run.kind)
    if kept is not None:
        return kept
    if run.role == "system":
        return BlockKind.SYSTEM
    if run.lost or run.turn in partly_gone:
        return BlockKind.PARTIAL
    return _TURNS[run.turn % 2]


def group_size(n_cells: int, width: int, height: int) -> int:
    """The smallest number of cells per block with which all cells fit into `width` x `height` blocks."""
    return max(1, -(-n_cells // max(1, width * height)))


def parts(snapshot: Snapshot) -> list[BlockPart]:
    """The whole cache from the first position to the last free cell; the cells add up to `n_ctx`.

    The maps below accept it ready-made: with a long conversation it is most of their work.
    """
    held = _held(snapshot)
    elsewhere = min(snapshot.n_elsewhere, snapshot.n_ctx - sum(part.n for part in held))
    line = _filled(held, snapshot.n_ctx - elsewhere, BlockKind.FREE)
    return [*line, BlockPart(BlockKind.ELSEWHERE, elsewhere)] if elsewhere > 0 else line


def cells(snapshot: Snapshot, width: int, height: int, line: Sequence[BlockPart] | None = None) -> list[Group]:
    """The map of the global cells in at most `width` x `height` blocks, all of one size (the last may be smaller)."""
    line = parts(snapshot) if line is None else line
    held = ours = snapshot.n_ctx
    for part in reversed(line):  # what is held comes first
        if part.pos is not None:
            break
        held -= part.n
        ours -= part.n if part.kind is BlockKind.ELSEWHERE else 0
    return blocks(line, group_size(snapshot.n_ctx, width, height), min(held, max(0, ours - 1)))


def in_window(snapshot: Snapshot, line: Sequence[BlockPart] | None = None) -> list[BlockPart]:
    """What the newest token can see in the sliding-window layers: pos_max - n_swa < position <= pos_max.

    Empty for a model without such layers and for an empty cache.
    """
    if snapshot.n_swa is None or snapshot.pos_max is None:
        return []
    first, end = snapshot.pos_max - snapshot.n_swa + 1, snapshot.pos_max + 1
    seen: list[BlockPart] = []
    for part in parts(snapshot) if line is None else line:
        if part.pos is not None and part.pos < end and part.pos + part.n > first:
            a, b = max(first, part.pos), min(end, part.pos + part.n)
            seen.append(part.cut(a - part.pos, b - a))
    return seen


def window_cells(snapshot: Snapshot, width: int, height: int, line: Sequence[BlockPart] | None = None) -> list[Group]:
    """The map of the sliding-window layers' cells: first what their window shows, then the rest as one kind.

    The rest is for the next micro-batch; llama.cpp reuses those cells in any order and does not say what they still
    hold, so neither does the map. Empty for a model without such layers.
    """
    n_cells = snapshot.n_ctx_swa
    if n_cells is None or snapshot.n_swa is None:
        return []
    rest = BlockKind.OUTSIDE if snapshot.pos_max is not None else BlockKind.FREE
    return blocks(_filled(in_window(snapshot, line), n_cells, rest), group_size(n_cells, width, height))


def ghost_marks(snapshot: Snapshot, width: int) -> tuple[list[GhostMark], int]:
    """The most recently evicted turns that fit into `width` columns, oldest first, and how many were evicted before."""
    marks: list[GhostMark] = []
    room = width
    for ghost in reversed(snapshot.ghosts):
        mark = GhostMark(ghost.turn, ghost.tokens, ghost.whole)
        if mark.width > room:
            break
        room -= mark.width
        marks.append(mark)
    marks.reverse()
    return marks, max(0, snapshot.evicted_turns - sum(mark.whole for mark in marks))


def disagreement(snapshot: Snapshot) -> str | None:
    """Why the map cannot be trusted: what the engine found, or what does not add up in the snapshot itself."""
    if snapshot.mismatch:
        return snapshot.mismatch
    held = sum(run.n for run in snapshot.runs)
    if held != snapshot.n_used:
        return f"the ledger's runs hold {held:,} tokens, but {snapshot.n_used:,} cells are in use"
    if held + snapshot.n_elsewhere > snapshot.n_ctx:
        return f"{held + snapshot.n_elsewhere:,} tokens do not fit into {snapshot.n_ctx:,} cells"
    return None


def _held(snapshot: Snapshot) -> list[BlockPart]:
    """The runs as parts, in order of position; never more than `n_ctx` cells (`disagreement` reports any excess)."""
    partly_gone = frozenset(ghost.turn for ghost in snapshot.ghosts if not ghost.whole)
    held: list[BlockPart] = []
    room = snapshot.n_ctx
    for run in sorted(snapshot.runs, key=attrgetter("pos")):
        n = run.n if run.n < room else room
        if n > 0:
            held.append(new_part(kind_of(run, partly_gone), n, run.turn, run.role, run.pos))
            room -= n
    return held


def _filled(held: list[BlockPart], n_cells: int, rest: BlockKind) -> list[BlockPart]:
    """Exactly `n_cells` cells: the newest of `held`, then `rest`."""
    excess = sum(part.n for part in held) - n_cells
    if excess <= 0:
        return [*held, BlockPart(rest, -excess)] if excess else held
    kept: list[BlockPart] = []
    for part in held:
        dropped = min(excess, part.n)
        excess -= dropped
        if dropped < part.n:
            kept.append(part.cut(dropped, part.n - dropped))
    return kept


def blocks(line: Iterable[BlockPart], size: int, head: int | None = None) -> list[Group]:
    """Cut a line of parts into blocks of `size` cells; cell `head` marks its block."""
    groups: list[Group] = []
    start, room = 0, size
    block: list[BlockPart] = []
    for whole in line:
        left = whole.n
        if left < room:
            if left > 0:
                block.append(whole)
                room -= left
            continue
        kind, n, turn, role, pos = whole
        while left >= room:
            first = None if pos is None else pos + n - left
            block.append(whole if room == n else new_part(kind, room, turn, role, first))
            left -= room
            groups.append(Group(start, tuple(block)))
            start, room, block = start + size, size, []
        if left:
            block.append(new_part(kind, left, turn, role, None if pos is None else pos + n - left))
            room -= left
    if block:
        groups.append(Group(start, tuple(block)))
    if head is not None and head // size < len(groups):
        groups[head // size] = groups[head // size]._replace(head=True)
    return groups
