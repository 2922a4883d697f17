"""Policies: what to evict when cells are needed. (ledger, need) -> plan, a pure function.

- `dense`: evicts nothing; when the window is full the plan says so.
- `window`: evicts the oldest tokens, sinks included: StreamingLLM's broken baseline, for comparison.
- `slide`: as `sinks`, but positions are not renumbered, for keys that a rotation would harm (YaRN) and for models with
  learned sinks; when the positions reach the limit the model was trained for, the cache is rebuilt, once.
- `rebuild`: as `sinks`, but the kept tokens are processed again, where a cache can neither shift nor drop tokens.
- `sinks`: keeps the first tokens, evicts whole turns, oldest first, and renumbers positions without a gap
  (StreamingLLM, arXiv 2309.17453, section 3.2). A turn that takes more than half of the window, or has outgrown it,
  loses only as many of its oldest tokens as are needed: a long document does not leave for a short question.

A plan evicts a share of the window at once: the shift of the kept keys costs a pass over the whole cache, whether one
token moves or all of them.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

from chatapp.cache.ledger import Ledger, Run

POLICIES = ("dense", "window", "sinks", "slide", "rebuild")


@dataclass(frozen=True, slots=True)
class Remove:
    """Drop the cells at positions [p0, p1)."""

    p0: int
    p1: int


@dataclass(frozen=True, slots=True)
class Renumber:
    """Add `delta` to every position from p0 on."""

    p0: int
    delta: int


@dataclass(frozen=True, slots=True)
class Reprocess:
    """Rebuild the cache: the remaining tokens go through the model once more, at positions 0, 1, 2, ..."""


Step = Remove | Renumber | Reprocess


@dataclass(frozen=True, slots=True)
class EvictionPlan:
    """What to do to the cache, in order; empty when there are enough cells. `full` says why there cannot be."""

    steps: tuple[Step, ...] = ()
    turns: tuple[int, ...] = ()
    """Turns that are evicted whole."""
    partial_turn: int | None = None
    """The turn that loses only its oldest tokens: the next one to leave, or the current one."""
    full: str = ""

    @property
    def removed(self) -> tuple[tuple[int, int], ...]:
        """Evicted position ranges, in ascending order, in the numbering before the plan."""
        return tuple(sorted((step.p0, step.p1) for step in self.steps if isinstance(step, Remove)))

    @property
    def tokens(self) -> int:
        """Number of evicted tokens."""
        return sum(p1 - p0 for p0, p1 in self.removed)

    @property
    def renumbers(self) -> bool:
        """True where kept tokens get new positions."""
        return any(isinstance(step, Renumber) for step in self.steps)

    @property
    def reprocesses(self) -> bool:
        """True where the cache is rebuilt."""
        return any(isinstance(step, Reprocess) for step in self.steps)


def apply(ledger: Ledger, plan: EvictionPlan) -> Ledger:
    """The ledger after the plan."""
    for step in plan.steps:
        match step:
            case Remove(p0, p1):
                ledger = ledger.remove(p0, p1)
            case Renumber(p0, delta):
                ledger = ledger.renumber(p0, delta)
            case Reprocess():
                ledger = ledger.compact()
    return ledger


def make_room(
    ledger: Ledger,
    *,
    policy: str,
    need: int,
    n_ctx: int,
    share: float,
    turn: int | None,
    keep_recent: int = 0,
    max_pos: int | None = None,
    most_moves: int | None = None,
) -> EvictionPlan:
    """The plan that frees at least `need` cells of `n_ctx`.

    `share` is the part of the evictable window that is evicted at once; `turn` is the turn in progress (None between
    turns); of the tokens after the last removed one at least `keep_recent` stay if possible (a pruned SWA cache has
    lost the older ones, so its window must not reach beyond them). `max_pos` is the number of positions that `slide`
    may use. `most_moves` bounds how often a token may be renumbered before it is evicted (shift_limit.py): enough of
    the evictable window is evicted at once, if there is that much, regardless of `keep_recent`.
    """
    free = n_ctx - ledger.n_tokens
    at_limit = policy == "slide" and max_pos is not None and ledger.next_pos + need > max_pos
    if need <= free and not at_limit:
        return EvictionPlan()
    if policy == "dense":
        return EvictionPlan(full=f"the window of {n_ctx} tokens is full, and the policy `dense` evicts nothing")
    short = max(0, need - free)
    protected = ledger.n_sink if policy != "window" else 0
    batch = max(short, int((n_ctx - protected) * share))
    if policy == "window":
        return _oldest_tokens(ledger, min(batch, ledger.n_tokens))
    least = max(short, -(-(n_ctx - protected) // most_moves) if most_moves and policy == "sinks" else 0)
    long = (n_ctx - protected) // 2
    plan = _oldest_turns(ledger, least, max(batch, least), turn, keep_recent, long)
    if plan.full:
        plan = _oldest_turns(ledger, short, batch, turn, keep_recent, long)
    if plan.full or policy == "sinks":
        return plan
    removals = tuple(step for step in plan.steps if isinstance(step, Remove))
    again = (Reprocess(),) if policy == "rebuild" or at_limit else ()
    return replace(plan, steps=removals + again)


def _oldest_tokens(ledger: Ledger, count: int) -> EvictionPlan:
    """Evict the first `count` cells, whatever they hold."""
    end = ledger.runs[0].pos + count
    leaving = {run.turn for run in ledger.runs if run.end <= end}
    staying = {run.turn for run in ledger.runs if run.end > end}
    cut = next((run.turn for run in ledger.runs if run.pos < end < run.end), None)
    return _plan([(ledger.runs[0].pos, end)], tuple(sorted(leaving - staying)), cut)


def _oldest_turns(
    ledger: Ledger, short: int, batch: int, current: int | None, keep_recent: int, long: int
) -> EvictionPlan:
    """Evict whole turns, oldest first, but only the oldest tokens of one with more than `long` tokens, or that has lost
    some already; when only the current turn remains, its own oldest tokens.
    """
    ranges: list[tuple[int, int]] = []
    turns: list[int] = []
    partial: int | None = None
    freed = 0
    for candidate in ledger.turns:
        if candidate == current or freed >= batch:
            break
        runs = [run for run in ledger.of_turn(candidate) if run.evictable]
        if not runs:
            continue
        behind = ledger.next_pos - runs[-1].end
        if freed >= short and behind < keep_recent:
            break
        size = sum(len(run.tokens) for run in runs)
        spare = behind + sum(len(run.tokens) - run.opening for run in runs) - keep_recent
        count = max(short - freed, min(batch - freed, spare))
        if count < size and (size > long or any(run.lost for run in runs)):
            inside = _oldest_inside(runs, count)
            taken = _size(inside)
            if taken and freed + taken >= short:
                return _plan([*ranges, *inside], tuple(turns), candidate)
        ranges += [(run.pos, run.end) for run in runs]
        turns.append(candidate)
        freed += size
    if freed < short and current is not None:
        runs = [run for run in ledger.of_turn(current) if run.evictable]
        spare = sum(len(run.tokens) - run.opening for run in runs) - keep_recent
        inside = _oldest_inside(runs, max(short - freed, min(batch - freed, spare)))
        taken = _size(inside)
        if taken:
            partial = current
        ranges += inside
        freed += taken
    if freed < short:
        return EvictionPlan(full=_no_room(ledger, short, freed))
    return _plan(ranges, tuple(turns), partial)


def _oldest_inside(runs: list[Run], count: int) -> list[tuple[int, int]]:
    """The first `count` tokens of these runs, excluding their openings; the very last token stays."""
    ranges: list[tuple[int, int]] = []
    for index, run in enumerate(runs):
        last = index == len(runs) - 1
        take = min(count, len(run.tokens) - run.opening - (1 if last else 0))
        if take > 0:
            ranges.append((run.pos + run.opening, run.pos + run.opening + take))
            count -= take
    return ranges


def _size(ranges: list[tuple[int, int]]) -> int:
    return sum(p1 - p0 for p0, p1 in ranges)


def _plan(ranges: list[tuple[int, int]], turns: tuple[int, ...], partial: int | None) -> EvictionPlan:
    """Remove each range and close its gap, the last one first, so that the earlier positions stay true."""
    merged: list[tuple[int, int]] = []
    for p0, p1 in sorted(ranges):
        if merged and merged[-1][1] == p0:
            merged[-1] = (merged[-1][0], p1)
        else:
            merged.append((p0, p1))
    steps: list[Step] = []
    for p0, p1 in reversed(merged):
        steps += [Remove(p0, p1), Renumber(p1, p0 - p1)]
    return EvictionPlan(tuple(steps), turns, partial)


def _no_room(ledger: Ledger, short: int, freed: int) -> str:
    kept = ledger.n_tokens - freed
    return f"{short} more cells are needed, {freed} can be freed, and {kept} hold sinks or pinned turns"


def contiguous(ledger: Ledger) -> bool:
    """True where positions run from 0 without a gap: the invariant of every policy but `slide`."""
    starts = not ledger.runs or ledger.runs[0].pos == 0
    return starts and all(a.end == b.pos for a, b in pairwise(ledger.runs))
