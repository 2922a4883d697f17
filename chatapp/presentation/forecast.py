"""Which turn a forecast would evict only in part; the engine does not name it."""

from chatapp.protocol.events import Foreseen, Snapshot
from chatapp.protocol.values import CellRun

OWN = "the beginning of the draft"


def cut(foreseen: Foreseen, policy: str, snapshot: Snapshot | None) -> str:
    """What would lose its oldest part, in words; empty if nothing would, or if the rest of it is evicted as well.

    `snapshot` is the cache that the draft would meet. Everything else that can be evicted goes before the beginning of
    the draft, so the draft is cut if it is longer than the window without sinks and pinned turns. If it is shorter,
    the last turn is so long that the markup that closes its reply does not fit beside it: that turn is cut after all
    others are evicted. `window` protects nothing and evicts the oldest tokens of whatever turn. The number of the
    markup's tokens is not reported: of a draft that is too long by no more than that, the markup is evicted.
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
        return "the oldest remaining tokens"
    last = max((run.turn for run in snapshot.runs if not _stays(run)), default=0)
    return "" if not last or last in foreseen.leaving else f"the oldest part of turn {last}"


def _stays(run: CellRun) -> bool:
    return run.kind in ("sink", "pinned")
