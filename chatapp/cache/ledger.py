"""The ledger: which token is at which position of the cache, to which turn it belongs, and what kind of cell holds it.

A ledger is an immutable value. Each of its runs is a contiguous stretch of tokens of one message, in order of
position. Every operation that the cache knows (append, remove, renumber, truncate) has its pure twin here; the engine
applies both and compares.

Worked example, with a system prompt of 3 tokens and two turns of 2 + 2::

    >>> book = Ledger().append(0, "system", (1, 2, 3), kind=CellKind.SINK)
    >>> book = book.append(1, "user", (4, 5)).append(1, "assistant", (6, 7))
    >>> book = book.append(2, "user", (8, 9))
    >>> book.n_tokens, book.next_pos
    (9, 9)
    >>> after = book.remove(3, 7).renumber(7, -4)
    >>> after.tokens, after.next_pos, after.evicted_tokens
    ((1, 2, 3, 8, 9), 5, 4)
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

MOST_GONE = 64
"""How many evicted turns are remembered one by one: memory must not grow in a conversation of months."""


class CellKind(StrEnum):
    """Why a token is kept."""

    SINK = "sink"
    """Among the first tokens (BOS, system prompt): never evicted."""
    PINNED = "pinned"
    """Part of a pinned turn."""
    RECENT = "recent"
    """Evicted when its turn is the oldest and cells are needed."""
    RECALLED = "recalled"
    """Part of an evicted turn that was recalled."""


@dataclass(frozen=True, slots=True)
class Run:
    """Tokens of one message at consecutive positions pos .. pos + len(tokens) - 1.

    `opening` counts the leading tokens that are the template's markup before the message's own text; they stay as long
    as any of the message does, so that the chat remains well formed. `lost` counts tokens of this message that were
    evicted from inside its turn.
    """

    turn: int
    role: str
    kind: CellKind
    pos: int
    tokens: tuple[int, ...]
    opening: int = 0
    lost: int = 0

    @property
    def end(self) -> int:
        """The position after the last token."""
        return self.pos + len(self.tokens)

    @property
    def evictable(self) -> bool:
        """True where the policy may remove it."""
        return self.kind in (CellKind.RECENT, CellKind.RECALLED)


@dataclass(frozen=True, slots=True)
class EvictedTurn:
    """How many tokens of one turn have been evicted and not recalled."""

    turn: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Ledger:
    """The cache's content. `gone` lists the newest turns that lost tokens, in ascending order."""

    runs: tuple[Run, ...] = ()
    gone: tuple[EvictedTurn, ...] = ()
    evicted_tokens: int = 0
    """Tokens evicted since the ledger began (roll-backs are not evictions)."""

    @property
    def n_tokens(self) -> int:
        """Cells in use."""
        return sum(len(run.tokens) for run in self.runs)

    @property
    def next_pos(self) -> int:
        """The position of the next token."""
        return self.runs[-1].end if self.runs else 0

    @property
    def n_sink(self) -> int:
        """Tokens that are sinks."""
        return sum(len(run.tokens) for run in self.runs if run.kind is CellKind.SINK)

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens in order of position."""
        return tuple(token for run in self.runs for token in run.tokens)

    @property
    def n_pinned(self) -> int:
        """Tokens of pinned turns."""
        return sum(len(run.tokens) for run in self.runs if run.kind is CellKind.PINNED)

    @property
    def pinned_turns(self) -> tuple[int, ...]:
        """Turns with a pinned token, in order of position."""
        return tuple(dict.fromkeys(run.turn for run in self.runs if run.kind is CellKind.PINNED))

    @property
    def turns(self) -> tuple[int, ...]:
        """Turns with at least one token in the cache that is not a sink, in order of position."""
        return tuple(dict.fromkeys(run.turn for run in self.runs if run.kind is not CellKind.SINK))

    @property
    def in_window(self) -> frozenset[int]:
        """Turns of the conversation with a token that is not a sink, and those that are whole among the sinks.

        >>> short = Ledger().append(1, "user", (1, 2), kind=CellKind.SINK)
        >>> short.in_window, short.append(1, "assistant", (3,)).remove(2, 3).in_window
        (frozenset({1}), frozenset())
        """
        all_known = len(self.gone) < MOST_GONE
        return frozenset(
            run.turn
            for run in self.runs
            if run.turn > 0 and (run.kind is not CellKind.SINK or (all_known and not self.lost(run.turn)))
        )

    def lost(self, turn: int) -> bool:
        """True where some or all of the turn has been evicted and not recalled."""
        return any(gone.turn == turn for gone in self.gone)

    def of_turn(self, turn: int) -> Iterator[Run]:
        """The runs of one turn, in order of position."""
        return (run for run in self.runs if run.turn == turn)

    def append(
        self, turn: int, role: str, tokens: tuple[int, ...], *, kind: CellKind | None = None, opening: int = 0
    ) -> "Ledger":
        """The ledger with `tokens` after the last position; they join the last run if it belongs to the same message.

        Without a `kind` they get the kind of the turn's other tokens that are not sinks, else recent.
        """
        if not tokens:
            return self
        opening = min(opening, len(tokens))
        last = self.runs[-1] if self.runs else None
        if kind is None:
            kind = next(
                (r.kind for r in reversed(self.runs) if r.turn == turn and r.kind is not CellKind.SINK), CellKind.RECENT
            )
        if last is not None and (last.turn, last.role, last.kind) == (turn, role, kind):
            more = Run(turn, role, kind, last.end, tokens, opening)
            return replace(self, runs=(*self.runs[:-1], _joined(last, more)))
        return replace(self, runs=(*self.runs, Run(turn, role, kind, self.next_pos, tokens, opening)))

    def append_sinks_first(
        self,
        turn: int,
        role: str,
        tokens: tuple[int, ...],
        *,
        n_sink: int,
        kind: CellKind | None = None,
        opening: int = 0,
    ) -> "Ledger":
        """`append`, but tokens at the first `n_sink` positions become sinks."""
        head = max(0, min(len(tokens), n_sink - self.n_sink)) if self.n_tokens == self.n_sink else 0
        book = self.append(turn, role, tokens[:head], kind=CellKind.SINK, opening=opening)
        return book.append(turn, role, tokens[head:], kind=kind, opening=max(0, opening - head))

    def remove(self, p0: int, p1: int, *, evicted: bool = True) -> "Ledger":
        """Without the tokens at positions [p0, p1); the others keep theirs. `evicted` counts them as
        evicted.

        A recalled turn that is rolled back counts as evicted again: its first tokens were, long before.
        """
        runs: list[Run] = []
        gone = {item.turn: item.tokens for item in self.gone}
        n_evicted = self.evicted_tokens
        for run in self.runs:
            a, b = max(p0, run.pos), min(p1, run.end)
            if a >= b:
                runs.append(run)
                continue
            count = b - a
            n_evicted += count if evicted else 0
            if evicted or run.kind is CellKind.RECALLED:
                gone[run.turn] = gone.get(run.turn, 0) + count
            i, j = a - run.pos, b - run.pos
            if i:
                lost = run.lost + (count if evicted else 0)
                runs.append(replace(run, tokens=run.tokens[:i], opening=min(run.opening, i), lost=lost))
            if j < len(run.tokens):
                rest = max(0, run.opening - j)
                lost = 0 if i else run.lost + (count if evicted else 0)
                runs.append(replace(run, pos=b, tokens=run.tokens[j:], opening=rest, lost=lost))
        return Ledger(
            tuple(runs), tuple(EvictedTurn(turn, gone[turn]) for turn in sorted(gone))[-MOST_GONE:], n_evicted
        )

    def renumber(self, p0: int, delta: int) -> "Ledger":
        """With `delta` added to every position from p0 on; pieces of one message that now touch become one run.

        Raises ValueError where positions would collide: llama.cpp would not notice.
        """
        parts = [part for run in self.runs for part in _split(run, p0)]
        moved = [replace(run, pos=run.pos + delta) if run.pos >= p0 else run for run in parts]
        joined: list[Run] = []
        for run in moved:
            last = joined[-1] if joined else None
            if last is not None and last.end > run.pos:
                raise ValueError(f"positions from {p0} cannot move by {delta}: {run.pos} is taken")
            if last is not None and last.end == run.pos and _same_message(last, run):
                joined[-1] = _joined(last, run)
            else:
                joined.append(run)
        return replace(self, runs=tuple(joined))

    def compact(self) -> "Ledger":
        """With positions 0, 1, 2, ... and no gap, as if everything had been processed again."""
        moved: list[Run] = []
        for run in self.runs:
            moved.append(replace(run, pos=moved[-1].end if moved else 0))
        return replace(self, runs=tuple(moved)).renumber(0, 0)

    def pin(self, turn: int) -> "Ledger":
        """With all of the turn's tokens pinned; sinks are never evicted anyway."""
        return self._mark(turn, CellKind.PINNED, lambda run: run.evictable)

    def unpin(self, turn: int) -> "Ledger":
        """With the turn unpinned."""
        return self._mark(turn, CellKind.RECENT, lambda run: run.kind is CellKind.PINNED)

    def _mark(self, turn: int, kind: CellKind, which: Callable[[Run], bool]) -> "Ledger":
        runs = tuple(replace(run, kind=kind) if run.turn == turn and which(run) else run for run in self.runs)
        return replace(self, runs=runs).renumber(0, 0)

    def returned(self, turns: Collection[int], still_gone: Sequence[EvictedTurn] = ()) -> "Ledger":
        """With the evicted turns that were processed again and are present no longer counted as gone."""
        others = [gone for gone in self.gone if gone.turn not in turns]
        return replace(self, gone=tuple(sorted([*others, *still_gone], key=lambda gone: gone.turn)))

    def truncate(self, p0: int) -> "Ledger":
        """Without everything from position p0 on: a roll-back, not an eviction."""
        return self.remove(p0, self.next_pos, evicted=False)


def _split(run: Run, p0: int) -> list[Run]:
    """`run` in two where p0 lies inside it."""
    i = p0 - run.pos
    if not 0 < i < len(run.tokens):
        return [run]
    head = replace(run, tokens=run.tokens[:i], opening=min(run.opening, i))
    return [head, replace(run, pos=p0, tokens=run.tokens[i:], opening=max(0, run.opening - i), lost=0)]


def _joined(a: Run, b: Run) -> Run:
    """Two pieces of one message that touch, as one."""
    opening = a.opening + (b.opening if a.opening == len(a.tokens) else 0)
    return replace(a, tokens=a.tokens + b.tokens, opening=opening, lost=a.lost + b.lost)


def _same_message(a: Run, b: Run) -> bool:
    return (a.turn, a.role, a.kind) == (b.turn, b.role, b.kind)
