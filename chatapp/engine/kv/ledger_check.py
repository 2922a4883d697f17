"""The comparison of the ledger with llama.cpp's own positions after each step; a mismatch is kept until it is asked
for.
"""

from chatapp.cache import consistency
from chatapp.cache.ledger import Ledger
from chatapp.engine.native.llama import Context


class LedgerCheck:
    """That of one context. `recurrent`: it has a state that cannot be cut, and reports no lowest position."""

    def __init__(self, context: Context, *, n_swa: int, recurrent: bool) -> None:
        self._context = context
        self._n_swa = n_swa
        self._recurrent = recurrent
        self._found: str | None = None

    def compare(self, ledger: Ledger) -> None:
        """After a step: two calls of llama.cpp."""
        if self._found is None:
            self._found = consistency.mismatch(
                ledger,
                self._context.positions,
                n_ctx=self._context.n_ctx,
                n_swa=self._n_swa,
                recurrent=self._recurrent,
            )

    def take(self) -> str | None:
        """The first mismatch since this was last asked, None where there was none."""
        found, self._found = self._found, None
        return found
