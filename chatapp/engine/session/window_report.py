"""The text of the window, as it is in the cache now."""

import time
from functools import partial
from itertools import pairwise

from msgspec import structs

from chatapp.cache.ledger import Ledger, Run
from chatapp.engine.kv.prefill_plan import Piece
from chatapp.engine.native.llama import Model
from chatapp.engine.token_text import TokenText
from chatapp.protocol.values import Ghost
from chatapp.protocol.window_text import TextPart, WindowShown


def shown(model: Model, ledger: Ledger, pending: Piece | None, n_ctx: int) -> WindowShown:
    """What the ledger's tokens say; `pending` is the markup that closes the last reply and is not cached yet."""
    text = TokenText(partial(model.piece, special=True), model.is_special)
    present = ledger.in_window
    parts: list[TextPart] = []
    for run, behind in pairwise([*ledger.runs, None]):
        if run is not None:
            part = _part(text, run, goes_on=behind is not None and _continues(run, behind))
            parts[-1:] = _joined(parts[-1], part) if parts else [part]
    return WindowShown(
        at_s=time.time(),
        parts=parts,
        ghosts=[Ghost(turn=gone.turn, tokens=gone.tokens, whole=gone.turn not in present) for gone in ledger.gone],
        pending=TextPart(
            turn=pending.turn,
            role=pending.role,
            pieces=[*text.read(pending.tokens), *text.end()],
            tokens=len(pending.tokens),
        )
        if pending is not None
        else None,
        n_ctx=n_ctx,
    )


def _part(text: TokenText, run: Run, *, goes_on: bool) -> TextPart:
    """What was evicted from inside a message was behind its opening."""
    pieces = [*text.read(run.tokens[: run.opening]), *text.end()] if run.lost else []
    n_before = len(pieces)
    pieces += text.read(run.tokens[run.opening :] if run.lost else run.tokens)
    if not goes_on:
        pieces += text.end()
    return TextPart(
        turn=run.turn,
        role=run.role,
        kind=str(run.kind),
        pieces=pieces,
        tokens=len(run.tokens),
        lost=run.lost,
        lost_at=n_before,
    )


def _continues(run: Run, behind: Run) -> bool:
    """Whether a character may lie in both: nothing of the message is missing between them."""
    gap = (behind.lost and not behind.opening) or (run.lost and run.opening == len(run.tokens))
    return not gap and (run.turn, run.role, run.end) == (behind.turn, behind.role, behind.pos)


def _joined(a: TextPart, b: TextPart) -> list[TextPart]:
    """Two parts of one message as one, where what was evicted of it was in one place."""
    same = (a.turn, a.role, a.kind) == (b.turn, b.role, b.kind)
    if not same or (b.lost and (b.lost_at or (a.lost and a.lost_at < len(a.pieces)))):
        return [a, b]
    return [
        structs.replace(
            a,
            pieces=[*a.pieces, *b.pieces],
            tokens=(a.tokens or 0) + (b.tokens or 0),
            lost=a.lost + b.lost,
            lost_at=len(a.pieces) if b.lost else a.lost_at,
        )
    ]
