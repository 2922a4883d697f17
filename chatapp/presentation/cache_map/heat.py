"""Heat: where the most recently sampled token attended, on the cache as it is now. Pure.

A sample of the probe (`Probed`) has the positions of its own moment. Since then turns may have been
evicted and the rest shifted. So each message of the sample is searched for in the present cache: if it is still there
and has lost nothing, its tokens are the same ones and have their heat; all others have none. Nothing is guessed, and
nothing is drawn on tokens that the sample did not see.

Two changes do not show in the messages: a message that was taken back and replaced in its turn, and a turn that was
evicted and recalled. Whoever keeps a sample must drop it then (`RolledBack`, `Opened`, `Recalled`).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

from chatapp.presentation.cache_map.cells import BlockPart, Group
from chatapp.protocol import attention_bytes
from chatapp.protocol.events import Probed
from chatapp.protocol.values import CellRun, Sight

TOP_LEVEL: Final = 7
"""Levels are half decades: 7 is a share of 32% or more, 6 of 10%, 5 of 3.2%, 4 of 1%, ..., 0 of less than 0.03%."""
_LEAST = [10 ** (-half / 2) for half in range(TOP_LEVEL, 0, -1)]
_WEIGHTS = tuple(attention_bytes.weight(byte) for byte in range(256))
_APART = ("sink", "recalled")
"""Kinds that tell two pieces of one message apart: the others can change while the tokens stay."""


_Name = tuple[tuple[object, ...], int]


class HeatSpan(NamedTuple):
    """`n` tokens at positions from `then` on when the sample was taken, and from `now` on at present."""

    now: int
    n: int
    then: int


class Hottest(NamedTuple):
    """The `n` tokens from position `pos` on with the most attention; more than one only if the sample is so coarse."""

    pos: int
    n: int
    share: float


def _found(before: Mapping[_Name, CellRun], now: Sequence[CellRun]) -> list[HeatSpan]:
    found: list[HeatSpan] = []
    start = end = first = 0  # of the span in the making: positions now, and the first position then
    for name, run in _named(now):
        was = before.get(name)
        if was is None or was.lost != run.lost:
            continue
        if run.pos != end or was.pos - first != run.pos - start:
            if end > start:
                found.append(HeatSpan(start, end - start, first))
            start = end = run.pos
            first = was.pos
        end += min(was.n, run.n)
    if end > start:
        found.append(HeatSpan(start, end - start, first))
    return found


def place_now(group: Group, there: Sequence[HeatSpan]) -> Group | None:
    """A block with the sample's positions, at the present ones; None if one of its tokens was evicted."""
    parts: list[BlockPart] = []
    for part in group.parts:
        if part.pos is None:
            parts.append(part)
            continue
        span = next((span for span in there if span.then <= part.pos < span.then + span.n), None)
        if span is None or part.pos + part.n > span.then + span.n:
            return None
        parts.append(part._replace(pos=span.now + part.pos - span.then))
    return Group(group.start, tuple(parts))


def _named(runs: Sequence[CellRun]) -> Iterator[tuple[_Name, CellRun]]:
    """Each run with its name: the message, why it is kept, and which of the neighbouring pieces it is."""
    last, piece = None, 0
    for run in runs:
        message = (run.turn, run.role, run.kind if run.kind in _APART else "")
        piece = piece + 1 if message == last else 0
        last = message
        yield (message, piece), run


def level(share: float) -> int:
    """0 to TOP_LEVEL for a share of attention.

    >>> [level(share) for share in (1.0, 0.32, 0.1, 0.01, 0.001, 0.0)]
    [7, 7, 6, 4, 2, 0]
    """
    return bisect_right(_LEAST, share)


@dataclass(frozen=True, slots=True)
class Since:
    """What became of a sample."""

    pos: int
    """The sampled token's position at the time."""
    ago: int | None
    """How many tokens came after it; None if it is no longer there."""
    evicted: int
    """Tokens of the sample that are no longer there."""
    moved: bool
    """Some have other positions now."""


class PreparedSample:
    """A sample, prepared to be found again in any later snapshot: what is the same for all of them is made once."""

    def __init__(self, probed: Probed) -> None:
        self.probed = probed
        self._runs = dict(_named(probed.runs))
        self._sights = {sight.kind: _Seen(sight) for sight in probed.sights if sight.placed}
        self._there: list[HeatSpan] | None = None
        self._now: Mapping[str, Heat] = {}

    @cached_property
    def then(self) -> Mapping[str, "Heat"]:
        """The heat by kind of layer, at the sample's own positions, whatever the ledger says about them."""
        placed = (pos + n for sight in self.probed.sights for _, pos, n in sight.placed)
        return self._on([HeatSpan(0, max(placed, default=0), 0)])

    def spans(self, now: Sequence[CellRun]) -> list[HeatSpan]:
        """Which of its tokens are still there, in order of their positions now; neighbours that moved alike are one."""
        return _found(self._runs, now)

    def now(self, there: list[HeatSpan]) -> Mapping[str, "Heat"]:
        """The heat by kind of layer at the tokens' present positions; the same object while none of them has moved.

        A sight without positions has none.
        """
        if there != self._there:
            self._there, self._now = there, self._on(there)
        return self._now

    def since(self, there: Sequence[HeatSpan], newest: int) -> Since:
        """What became of it, if its tokens are `there` now and `newest` is the last position."""
        pos = self.probed.pos
        place = next((span for span in there if span.then <= pos < span.then + span.n), None)
        return Since(
            pos=pos,
            ago=None if place is None else newest - (place.now + pos - place.then),
            evicted=sum(run.n for run in self.probed.runs) - sum(span.n for span in there),
            moved=any(span.now != span.then for span in there),
        )

    def _on(self, there: Sequence[HeatSpan]) -> Mapping[str, "Heat"]:
        return {kind: Heat(seen, there) for kind, seen in self._sights.items()}


class _Seen:
    """What one kind of layer saw, by rank: the tokens that it saw, in order of position at the time."""

    def __init__(self, sight: Sight) -> None:
        self.heat = sight.heat
        self.tok = sight.heat_tok
        weights = [_WEIGHTS[byte] for byte in sight.heat]
        self._mass = [0.0, *accumulate(weights)]
        self._each = [weight / self.tok for weight in weights]
        """If a byte stands for several tokens, the even part of each of them."""
        self._each.append(0.0)  # of the end, after the last byte
        if weights and (rest := sight.n_visible % self.tok):
            self._each[-2] = weights[-1] / rest
        self._stretches: list[HeatSpan] = []
        """Positions that were seen, from `now` on; `then` is the rank of the first."""
        rank = 0
        for _, pos, n in sorted(sight.placed, key=lambda placed: placed[1]):
            last = self._stretches[-1] if self._stretches else None
            if last is not None and last.now + last.n == pos:
                self._stretches[-1] = HeatSpan(last.now, last.n + n, last.then)
            else:
                self._stretches.append(HeatSpan(pos, n, rank))
            rank += n
        self._starts = [stretch.now for stretch in self._stretches]

    def below(self, rank: int) -> float:
        """The share of the first `rank` tokens; within a byte for several tokens, their even part."""
        whole, part = divmod(rank, self.tok)
        return self._mass[whole] + self._each[whole] * part

    def between(self, rank: int, end: int) -> float:
        """The share of the tokens from `rank` on, before `end`."""
        mass, each, tok = self._mass, self._each, self.tok
        if tok == 1:
            return mass[end] - mass[rank]
        a, b = rank // tok, end // tok
        return mass[b] + each[b] * (end - b * tok) - mass[a] - each[a] * (rank - a * tok)

    def pieces(self, there: Sequence[HeatSpan]) -> list[HeatSpan]:
        """Those of these tokens that were seen, in order of present position; `then` is the rank of the first."""
        found: list[HeatSpan] = []
        for span in there:
            for seen in self._stretches[max(0, bisect_right(self._starts, span.then) - 1) :]:
                if seen.now >= span.then + span.n:
                    break
                first, end = max(span.then, seen.now), min(span.then + span.n, seen.now + seen.n)
                if first < end:
                    found.append(HeatSpan(span.now + first - span.then, end - first, seen.then + first - seen.now))
        return sorted(found)


class Heat:
    """One kind of layer's attention on the tokens of a snapshot; shares are 0 to 1, means over heads."""

    def __init__(self, seen: _Seen, there: Sequence[HeatSpan]) -> None:
        self._seen = seen
        self._pieces = seen.pieces(there)
        self._starts = [piece.now for piece in self._pieces]
        self._before: list[tuple[int, float]] = []
        """For each piece, what precedes it: how many tokens, and their share minus that of all ranks below its own."""
        count, share = 0, 0.0
        for piece in self._pieces:
            below = seen.below(piece.then)
            self._before.append((count, share - below))
            count, share = count + piece.n, share - below + seen.below(piece.then + piece.n)

    def share(self, pos: int, n: int) -> float | None:
        """The share of the tokens pos .. pos + n - 1, as far as the sample saw them; None if it saw none of them."""
        i = bisect_right(self._starts, pos) - 1
        if i >= 0 and n > 0:
            now, held, then = self._pieces[i]
            if pos + n <= now + held:  # in nearly every picture, and half the work
                first = then + pos - now
                return self._seen.between(first, first + n)
        count_before, before = self._until(pos)
        count, share = self._until(pos + n)
        return share - before if count > count_before else None

    def of(self, group: Group) -> float | None:
        """The share of a block's tokens, as far as the sample saw them; None if it saw none of them."""
        found: float | None = None
        for _, n, _, _, pos in group.parts:
            if pos is not None and (share := self.share(pos, n)) is not None:
                found = share if found is None else found + share
        return found

    def level(self, group: Group) -> int | None:
        """`of` as a level, 0 to TOP_LEVEL."""
        share = self.of(group)
        return None if share is None else level(share)

    def hottest(self, group: Group) -> Hottest | None:
        """Which of a block's tokens got the most attention; None if none of them was seen."""
        found = [top for pos, n in group.stretches if (top := self._hottest(pos, n)) is not None]
        return max(found, key=lambda top: top.share, default=None)

    def _hottest(self, pos: int, n: int) -> Hottest | None:
        best: Hottest | None = None
        tok = self._seen.tok
        for piece in self._pieces[max(0, bisect_right(self._starts, pos) - 1) :]:
            if piece.now >= pos + n:
                break
            first, end = max(piece.now, pos), min(piece.now + piece.n, pos + n)
            if first >= end:
                continue
            rank, last = piece.then + first - piece.now, piece.then + end - 1 - piece.now
            heat = self._seen.heat[rank // tok : last // tok + 1]
            top = max(heat)
            if best is None or _WEIGHTS[top] > best.share:
                at = (rank // tok + heat.index(top)) * tok
                a, b = max(at, rank), min(at + tok - 1, last)
                best = Hottest(piece.now + a - piece.then, b - a + 1, _WEIGHTS[top])
        return best

    def _until(self, pos: int) -> tuple[int, float]:
        """How many tokens before position `pos` were seen, and their share."""
        i = bisect_left(self._starts, pos) - 1
        if i < 0:
            return 0, 0.0
        now, n, then = self._pieces[i]
        n = min(pos - now, n)
        count, share = self._before[i]
        return count + n, share + self._seen.below(then + n)
