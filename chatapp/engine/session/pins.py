"""Pinned turns, and how many cells they may take."""

import time
from collections.abc import Callable, Collection

from chatapp.engine.kv.cache import KvCache
from chatapp.engine.session.live_branches import LiveBranches
from chatapp.errors import UserError
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Pinned


def most(kv: KvCache) -> int:
    """The most cells that sinks and pinned turns may take together: a quarter of the window stays free."""
    return kv.context.n_ctx * 3 // 4


def pin(branches: LiveBranches, turn: int, emit: Callable[[AnyEvent], None]) -> None:
    """Pin a turn. UserError where it is not in the window, or too few cells would stay free."""
    kv = branches.kv
    ledger = kv.ledger
    after = ledger.pin(turn)
    others = ledger.unpin(turn).n_pinned
    tokens = after.n_pinned - others
    if kv.policy == "window":
        raise UserError("The policy `window` evicts pinned turns too.", "Choose another --policy.")
    if turn not in branches.transcript.turns or not tokens:
        known = turn in branches.transcript.turns
        raise UserError(
            f"Turn {turn} is not in the window." if known else f"There is no turn {turn} with a reply.",
            f"Recall it first: /recall {turn}." if known else "",
        )
    kept = after.n_sink + after.n_pinned
    if kept > most(kv):
        n_ctx = kv.context.n_ctx
        raise UserError(
            f"Turn {turn} takes {tokens} tokens. With {after.n_sink} sinks and {others} pinned tokens, {kept} of "
            f"{n_ctx} cells would be kept, and {n_ctx - kept} free: less than a quarter ({n_ctx - most(kv)}).",
            "Unpin another turn, or use a larger --ctx.",
        )
    kv.pin(turn)
    emit(Pinned(at_s=time.time(), turn=turn, pinned=True, tokens=tokens, kept_tokens=kept))


def unpin(branches: LiveBranches, turn: int, emit: Callable[[AnyEvent], None], why: str = "") -> None:
    """Unpin a turn: it may be evicted again."""
    before = branches.kv.ledger
    branches.kv.unpin(turn)
    after = branches.kv.ledger
    tokens, kept = before.n_pinned - after.n_pinned, after.n_sink + after.n_pinned
    emit(Pinned(at_s=time.time(), turn=turn, pinned=False, tokens=tokens, kept_tokens=kept, why=why))


def only(branches: LiveBranches, turns: Collection[int], emit: Callable[[AnyEvent], None]) -> None:
    """Pin exactly these turns; one that cannot be pinned is reported with the reason."""
    for turn in branches.kv.ledger.pinned_turns:
        if turn not in turns:
            unpin(branches, turn, emit)
    for turn in sorted(turns):
        if turn not in branches.kv.ledger.pinned_turns:
            try:
                pin(branches, turn, emit)
            except UserError as error:
                unpin(branches, turn, emit, why=error.what)
