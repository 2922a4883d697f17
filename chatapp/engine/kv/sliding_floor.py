"""From which position on the sliding layers surely hold every token (docs/decisions/0010).

A new token takes the next cell that no window needs. As long as tokens only came, that is the oldest one, and
llama.cpp's lowest position says how far back all are there. Once tokens were dropped, moved or put back, cells are
taken in another order: an old one may survive the younger ones behind it. From then on only those count that no decode
could have taken (llama-kv-cache.cpp, find_slot).
"""


class SlidingFloor:
    """That of one branch. `n_swa` is the window in tokens, the token itself included; 0 without sliding layers."""

    def __init__(self, n_swa: int) -> None:
        self.n_swa = n_swa
        self.known: int | None = None
        """None while llama.cpp's lowest position tells it."""

    def at(self, positions: tuple[int, int] | None) -> int:
        """The floor, where llama.cpp reports these lowest and highest positions."""
        if self.known is not None:
            return self.known
        return positions[0] if positions is not None else 0

    def decoded(self, pos: int) -> None:
        """Tokens from position `pos` on took cells that the window of `pos` does not need."""
        if self.known is not None:
            self.known = max(self.known, self.back_from(pos))

    def back_from(self, pos: int) -> int:
        """The lowest position that the window of `pos` reaches."""
        return max(0, pos - self.n_swa + 1)
