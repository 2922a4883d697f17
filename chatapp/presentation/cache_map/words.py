"""What the cache map holds, in words and exact counts."""

from collections.abc import Callable, Sequence

from chatapp.presentation import format
from chatapp.presentation.cache_map.cells import BlockKind, BlockPart, Group
from chatapp.presentation.cache_map.heat import Heat, Since
from chatapp.protocol.events import Snapshot
from chatapp.protocol.values import CellRun
from chatapp.text import visible

_ROLES = {"user": "you", "assistant": "reply", "system": "system prompt", "text": "text"}


def message_name(turn: int | None, role: str | None) -> str:
    """ "turn 12, you", "system prompt"."""
    name = _ROLES.get(role or "", role or "")
    return f"turn {turn}, {name}" if turn else name


def sink_sources(snapshot: Snapshot) -> list[tuple[str, int]]:
    """Where the sinks come from: ("system prompt", 31), ("turn 1, you", 4)."""
    sources: dict[str, int] = {}
    for run in snapshot.runs:
        if run.kind == BlockKind.SINK:
            name = message_name(run.turn, run.role)
            sources[name] = sources.get(name, 0) + run.n
    return list(sources.items())


def describe(group: Group, *, by_cell: bool = False) -> str:
    """What a block of the map holds, the largest share first; with `by_cell`, its cells are named by number."""
    total = f"{group.n:,} {'cell' if group.n == 1 else 'cells'}"
    if by_cell:
        total = _ranges("cell", [(group.start, group.start + group.n - 1)])
    if not group.mixed:
        return f"{_part_name(group.parts[0])} · {total}{_positions(group, by_cell)}"
    shares: dict[str, int] = {}
    for part in group.parts:
        name = _part_name(part)
        shares[name] = shares.get(name, 0) + part.n
    listed = ", ".join(f"{n:,} {name}" for name, n in sorted(shares.items(), key=lambda item: -item[1]))
    return f"{total}{_positions(group, by_cell)}: {listed}"


def ago(group: Group, snapshot: Snapshot) -> str:
    """How many tokens came after those of a block: "12 tokens ago", "40–25 tokens ago"; empty if it holds none."""
    held = group.stretches
    if not held:
        return ""
    first, last = min(pos for pos, _ in held), max(pos + n - 1 for pos, n in held)
    (most, exact), (least, _) = _tokens_after(first, snapshot), _tokens_after(last, snapshot)
    if most == 0:
        return "the newest token"
    span = f"{most:,}" if most == least else f"{most:,}–{least:,}"
    return f"{'' if exact else 'at least '}{span} {'token' if most == 1 else 'tokens'} ago"


def quoted(pieces: Sequence[str], room: int) -> str:
    """Tokens as quoted text of at most `room` characters: “ the cat…”; empty if there are none."""
    if not pieces:
        return ""
    text = visible("".join(pieces)).replace("\n", "␊").replace("\t", "␉")
    return f"“{text if len(text) + 2 <= room else text[: room - 3] + '…'}”"


def attention(group: Group, heat: Heat, words: Callable[[int, int], Sequence[str]]) -> str:
    """How much attention a block got, and which of its tokens got the most; empty if it holds none.

    `words` gives the text of the tokens from a position on, as far as it is known.
    """
    share, top = heat.of(group), heat.hottest(group)
    if share is None or top is None:
        return "newer than the sample" if group.stretches else ""
    told = f"{format.percent(share)} of attention"
    if group.n == 1 or top.share <= 0:
        return told
    if top.n > 1:
        where = _ranges("position", [(top.pos, top.pos + top.n - 1)])
        return f"{told}, most on {where} ({format.percent(top.share)})"
    which = quoted(words(top.pos, 1), 16) or f"position {top.pos:,}"
    return f"{told}, most on {which} ({format.percent(top.share)})"


def heat_note(since: Since) -> str:
    """Which token's attention the heat is, and what has changed since."""
    whose = f"heat: attention of the token at position {since.pos:,}"
    if since.ago is None:
        whose += ", now evicted"
    else:
        whose += ", the newest" if since.ago == 0 else f", {since.ago:,} {'token' if since.ago == 1 else 'tokens'} ago"
    if since.evicted:
        whose += f"; {format.plural(since.evicted, 'token')} that it saw evicted since"
    return whose + ("; shifted since" if since.moved else "")


def _tokens_after(pos: int, snapshot: Snapshot) -> tuple[int, bool]:
    """How many tokens came after the one at `pos`, evicted ones included, and whether that is exact.

    Only the most recently evicted turns are listed: for an older turn that was kept it is a lower bound.
    """
    present = sum(max(0, run.pos + run.n - max(run.pos, pos + 1)) for run in snapshot.runs)
    own = next((run for run in snapshot.runs if run.pos <= pos < run.pos + run.n), None)
    evicted, exact = (0, True) if own is None else _evicted_after(own, snapshot)
    return present + evicted, exact


def _evicted_after(run: CellRun, snapshot: Snapshot) -> tuple[int, bool]:
    if run.kind == BlockKind.RECALLED:
        return 0, True  # processed again, after everything that was evicted
    if run.kind == BlockKind.SINK or not run.turn:
        return snapshot.evicted_tokens, True
    listed = sum(ghost.tokens for ghost in snapshot.ghosts)
    all_listed = listed >= snapshot.evicted_tokens or snapshot.ghosts[0].turn <= run.turn
    return sum(ghost.tokens for ghost in snapshot.ghosts if ghost.turn > run.turn), all_listed


def _part_name(part: BlockPart) -> str:
    name = message_name(part.turn, part.role)
    match part.kind:
        case BlockKind.FREE:
            return "free"
        case BlockKind.ELSEWHERE:
            return "another branch"
        case BlockKind.OUTSIDE:
            return "outside the window"
        case BlockKind.UNSEEN:
            return "not seen"
        case BlockKind.STRAY:
            return "not in the ledger"
        case BlockKind.PARTIAL:
            return f"{name} (partly evicted)"
        case BlockKind.SINK | BlockKind.PINNED | BlockKind.RECALLED:
            return f"{name} ({part.kind})"
        case BlockKind.SYSTEM | BlockKind.TURN_A | BlockKind.TURN_B:
            return name


def _positions(group: Group, by_cell: bool) -> str:
    held = [(pos, pos + n - 1) for pos, n in group.stretches]
    if held and not by_cell:  # in order of position: what was between two of these is evicted
        held = [(held[0][0], held[-1][1])]
    return f" · {_ranges('position', held)}" if held else ""


def _ranges(what: str, ranges: Sequence[tuple[int, int]]) -> str:
    """ "position 7", "positions 3–9, 400–402"; of many ranges the first three."""
    named = [f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in ranges]
    plural = "" if len(ranges) == 1 and ranges[0][0] == ranges[0][1] else "s"
    return f"{what}{plural} {', '.join(named[:3])}{', …' if len(named) > 3 else ''}"
