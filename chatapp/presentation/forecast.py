"""Which part of a turn a forecast would evict, in words."""

from chatapp.protocol.events import Foreseen, Snapshot

OWN = "the beginning of the draft"


def cut(foreseen: Foreseen, policy: str, snapshot: Snapshot | None) -> str:
    """What would lose its oldest part, in words; empty if nothing would.

    `snapshot` is the cache that the draft would meet: the draft is newer than every turn in it. `window` protects
    nothing and evicts the oldest tokens of whatever turn.
    """
    if not foreseen.partly or policy == "dense":
        return ""
    if snapshot is None:
        return "the oldest part of a turn"
    if not snapshot.runs:
        return OWN
    turn = foreseen.partial_turn
    if turn is None:  # a trace of an earlier version
        return "the oldest part of a turn"
    if turn > max(run.turn for run in snapshot.runs):
        return OWN
    return "the oldest remaining tokens" if policy == "window" else f"the oldest part of turn {turn}"
