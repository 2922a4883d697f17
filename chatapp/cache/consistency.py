"""Whether the ledger and the positions that llama.cpp reports can both be true.

>>> from chatapp.cache.ledger import Ledger
>>> book = Ledger().append(1, "user", (5, 6, 7))
>>> mismatch(book, (0, 2), n_ctx=8)
>>> mismatch(book, (0, 3), n_ctx=8)
'the ledger ends at position 2, llama.cpp at 3'
"""

from chatapp.cache.ledger import Ledger


def mismatch(
    ledger: Ledger, positions: tuple[int, int] | None, *, n_ctx: int, n_swa: int = 0, recurrent: bool = False
) -> str | None:
    """How they disagree, or None. `positions` are the lowest and the highest one; None means an empty cache.

    With sliding layers (`n_swa` above 0) they are those of the sliding cells, and the lowest one need only be low
    enough for the window; a `recurrent` state reports no lowest one.
    """
    if not ledger.runs:
        return None if positions is None else f"the ledger is empty, llama.cpp holds positions {positions}"
    if positions is None:
        return f"the ledger ends at {ledger.next_pos - 1}, llama.cpp holds nothing"
    low, high = positions
    if high != ledger.next_pos - 1:
        return f"the ledger ends at position {ledger.next_pos - 1}, llama.cpp at {high}"
    first = ledger.runs[0].pos
    if not recurrent and not n_swa and low != first:
        return f"the ledger begins at position {first}, llama.cpp at {low}"
    begin = ledger.next_pos - n_swa  # what was evicted from inside the window need not be there
    if n_swa and low > next(max(run.pos, begin) for run in ledger.runs if run.end > begin):
        return f"the window of {n_swa} reaches back to {ledger.next_pos - n_swa}, its cells to {low}"
    if ledger.n_tokens > n_ctx:
        return f"the ledger counts {ledger.n_tokens} tokens in {n_ctx} cells"
    return None
