"""From which position on the sliding layers certainly hold every token (docs/decisions/0010).

A new token takes the next cell that no sliding window needs. As long as tokens are only appended, that is the oldest
one, and llama.cpp's lowest position says how far back all of them are there. After an eviction, a shift or a restored
state, cells are taken in another order: an old one may survive newer ones. Then only cells count that no decode could
have taken (llama-kv-cache.cpp, find_slot).
"""


class SlidingFloor:
    """The floor of one branch. `n_swa` is the sliding window in tokens, the token itself included; 0 without one."""

    def __init__(self, n_swa: int) -> None:
        self.n_swa = n_swa
        self.known: int | None = None
        """None as long as llama.cpp's lowest position is the floor."""

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
        """The lowest position in the sliding window of `pos`."""
        return max(0, pos - self.n_swa + 1)
