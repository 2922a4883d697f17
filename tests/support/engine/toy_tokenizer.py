"""A tokenizer that can be read: one token a character, and one for each special spelling, above all characters."""

import re
from collections.abc import Iterable, Sequence

SPECIAL = 0x110000


class Toy:
    """`tokenize` as llama.cpp does it: user-defined spellings are tokens even with special tokens off."""

    def __init__(self, spellings: Sequence[str], user_defined: Sequence[str] = ()) -> None:
        self.spellings = [*spellings, *user_defined]
        self.user_defined = list(user_defined)

    def tokenize(self, text: str, special: bool) -> list[int]:
        known = self.spellings if special else self.user_defined
        if not known:
            return [ord(character) for character in text]
        pattern = "|".join(re.escape(spelling) for spelling in sorted(known, key=len, reverse=True))
        tokens: list[int] = []
        for part in re.split(f"({pattern})", text):
            tokens += [SPECIAL + self.spellings.index(part)] if part in known else [ord(c) for c in part]
        return tokens

    def spell(self, token: int) -> bytes:
        return self.text([token]).encode()

    def id(self, spelling: str) -> int:
        return SPECIAL + self.spellings.index(spelling)

    def text(self, tokens: Iterable[int]) -> str:
        return "".join(self.spellings[t - SPECIAL] if t >= SPECIAL else chr(t) for t in tokens)


def specials(tokens: Iterable[int]) -> list[int]:
    """The special tokens among these."""
    return [token for token in tokens if token >= SPECIAL]
