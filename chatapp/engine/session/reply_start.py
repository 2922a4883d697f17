"""Where in the cache the reply of a turn begins, to generate another one from there."""

from chatapp.cache.ledger import CellKind, Ledger, Run
from chatapp.engine.kv.prefill_plan import Piece
from chatapp.errors import UserError


def position(ledger: Ledger, turn: int, *, at_once: bool) -> int:
    """The position of the first token of the reply's text. `at_once`: the template writes nothing before it.

    UserError where what it answers was evicted.

    >>> book = Ledger().append(1, "user", (1, 2)).append(1, "assistant", (3, 4, 5), opening=1)
    >>> position(book, 1, at_once=False)
    3
    >>> position(book.remove(2, 3).renumber(3, -1), 1, at_once=True)
    2
    """
    replies = [run for run in ledger.of_turn(turn) if run.role == "assistant"]
    openings = [run for run in replies if run.opening]  # two where the last sink is inside the opening
    if openings:
        return openings[-1].pos + openings[-1].opening
    start = replies[0].pos if replies else ledger.next_pos
    before = _run_at(ledger, start - 1)
    if at_once and before is not None and (before.turn == turn or before.kind is CellKind.SINK):
        return start
    raise UserError("The start of this reply was evicted.", "Send the message again.")


def token_before(ledger: Ledger, start: int) -> Piece:
    """The token before position `start`, to be decoded once more: the first token of a reply is sampled from its
    logits.
    """
    run = _run_at(ledger, start - 1)
    assert run is not None, "position() found one"
    at = start - 1 - run.pos
    sink = run.kind is CellKind.SINK and not run.turn
    return Piece(run.turn, run.role, (run.tokens[at],), 1 if at < run.opening else 0, sink=sink)


def _run_at(ledger: Ledger, pos: int) -> Run | None:
    return next((run for run in ledger.runs if run.pos <= pos < run.end), None)
