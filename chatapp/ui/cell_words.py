"""What the picture of the cache holds, in words and exact counts."""

from chatapp.engine.protocol import Snapshot
from chatapp.ui.cells import Group, Kind, Part

_ROLES = {"user": "you", "assistant": "reply", "system": "system prompt", "text": "text"}


def message_name(turn: int | None, role: str | None) -> str:
    """ "turn 12, you", "system prompt"."""
    name = _ROLES.get(role or "", role or "")
    return f"turn {turn}, {name}" if turn else name


def sink_sources(snapshot: Snapshot) -> list[tuple[str, int]]:
    """Where the sinks come from: ("system prompt", 31), ("turn 1, you", 4)."""
    sources: dict[str, int] = {}
    for run in snapshot.runs:
        if run.kind == Kind.SINK:
            name = message_name(run.turn, run.role)
            sources[name] = sources.get(name, 0) + run.n
    return list(sources.items())


def describe(group: Group) -> str:
    """What a block of the map holds, the largest share first."""
    total = f"{group.n:,} {'cell' if group.n == 1 else 'cells'}"
    if not group.mixed:
        return f"{_part_name(group.parts[0])} · {total}{_positions(group)}"
    shares: dict[str, int] = {}
    for part in group.parts:
        name = _part_name(part)
        shares[name] = shares.get(name, 0) + part.n
    listed = ", ".join(f"{n:,} {name}" for name, n in sorted(shares.items(), key=lambda item: -item[1]))
    return f"{total}{_positions(group)}: {listed}"


def _part_name(part: Part) -> str:
    name = message_name(part.turn, part.role)
    match part.kind:
        case Kind.FREE:
            return "free"
        case Kind.ELSEWHERE:
            return "another branch"
        case Kind.OUTSIDE:
            return "outside the window"
        case Kind.PARTIAL:
            return f"{name} (partly evicted)"
        case Kind.SINK | Kind.PINNED | Kind.RECALLED:
            return f"{name} ({part.kind})"
        case Kind.SYSTEM | Kind.TURN_A | Kind.TURN_B:
            return name


def _positions(group: Group) -> str:
    held = [(part.pos, part.pos + part.n - 1) for part in group.parts if part.pos is not None]
    if not held:
        return ""
    first, last = held[0][0], held[-1][1]
    return f" · position {first:,}" if first == last else f" · positions {first:,}–{last:,}"
