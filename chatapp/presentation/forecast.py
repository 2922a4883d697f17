"""What a forecast says of a turn that would leave only in part: which one it is, which the engine does not name."""

from chatapp.protocol.events import Foreseen, Snapshot
from chatapp.protocol.values import CellRun

OWN = "the draft's own beginning"


def cut(foreseen: Foreseen, policy: str, snapshot: Snapshot | None) -> str:
    """What would lose its oldest part, in words; empty where nothing would, or where it leaves wholly after that.

    `snapshot` is the cache that the draft would meet. Everything that may leave does so before the draft's own
    beginning, so that goes where the draft is longer than what sinks and pinned turns leave of the window. A shorter
    one finds the last turn so long that the markup behind its reply has no room beside it: that turn is cut, after all
    others have left. Under `window` nothing is kept, and tokens leave whatever turn they are of. How many tokens the
    markup is nobody tells: of a draft that is longer by no more than these, it is the markup that leaves.
    """
    if not foreseen.partly or policy == "dense":
        return ""
    if snapshot is None:
        return "the oldest part of a turn"
    if not snapshot.runs:
        return OWN
    kept = 0 if policy == "window" else sum(run.n for run in snapshot.runs if _stays(run))
    if foreseen.tokens > snapshot.n_ctx - kept:
        return OWN
    if policy == "window":
        return "the oldest tokens of what is left"
    last = max((run.turn for run in snapshot.runs if not _stays(run)), default=0)
    return "" if not last or last in foreseen.leaving else f"the oldest part of turn {last}"


def _stays(run: CellRun) -> bool:
    return run.kind in ("sink", "pinned")
