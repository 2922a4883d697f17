"""People's text in a rendering: what it says is data, also where it spells a special token.

Before rendering, every spelling of a special token in people's text is replaced by a mark of private-use characters.
The template's own logic (trim, `in`, slices) still works on the text, and no text can open or close a turn: what a
mark stands for is tokenized with special tokens off.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

# A mark is OPEN, the index of the swapped piece in decimal digits of its own, CLOSE: three kinds of private-use
# characters, which are removed from people's text.
_OPEN, _CLOSE = "\uf8f0", "\uf8f1"
_DIGITS = "".join(chr(0xF8E0 + i) for i in range(10))
_MARK = re.compile(f"{_OPEN}([{_DIGITS}]{{1,9}}){_CLOSE}")
_PROBE = "\uf8f2"
_TREE_DEPTH = 8
_PRIVATE = f"[{_OPEN}{_CLOSE}{_PROBE}{_DIGITS}]"


def probe(number: int) -> str:
    """Text to search a rendering for, which no template and no message writes; `number` is 0 to 9."""
    return _PROBE + _DIGITS[number] + _PROBE


def spelled(spellings: Sequence[str]) -> re.Pattern[str]:
    """A pattern of these special tokens, the longest first; of nothing where there is none.

    It is a tree of their first characters: some vocabularies have thousands, and a message may have megabytes.

    >>> spelled(["<a>", "<ab>", "[b]"]).findall("<ab><a><[b]")
    ['<ab>', '<a>', '[b]']
    """
    return re.compile(_tree(sorted(set(filter(None, spellings)), key=len, reverse=True), _TREE_DEPTH) or "(?!)")


def _tree(words: Sequence[str], depth: int) -> str:
    if not depth or len(words) < 2:
        return "|".join(map(re.escape, words))
    rests: dict[str, list[str]] = {}
    for word in words:
        rests.setdefault(word[:1], []).append(word[1:])
    return "|".join(f"{re.escape(first)}(?:{_tree(rest, depth - 1)})" for first, rest in rests.items())


@lru_cache(maxsize=4)
def _hidden(specials: re.Pattern[str]) -> re.Pattern[str]:
    return re.compile(f"{_PRIVATE}|{specials.pattern}")


@dataclass(frozen=True, slots=True)
class Stretch:
    """Consecutive characters of one origin: people's text that spells a special token (`inert`), or any other."""

    text: str
    inert: bool


@dataclass
class Marks:
    """The pieces of people's text that marks stand for, in renderings that belong together."""

    specials: re.Pattern[str]
    pieces: list[str] = field(default_factory=list[str])

    def hide(self, text: str) -> str:
        """The text with marks for what spells a special token, and for the characters that marks are made of."""
        return _hidden(self.specials).sub(self._swap, text)

    def _swap(self, match: re.Match[str]) -> str:
        self.pieces.append(match[0])
        return _OPEN + "".join(_DIGITS[int(d)] for d in str(len(self.pieces) - 1)) + _CLOSE

    def _piece(self, mark: re.Match[str]) -> str:
        """What the mark stands for; the mark itself where the template made it up."""
        index = int("".join(str(_DIGITS.index(digit)) for digit in mark[1]))
        return self.pieces[index] if index < len(self.pieces) else mark[0]

    def shown(self, text: str) -> str:
        """The text as people wrote it."""
        return _MARK.sub(self._piece, text)

    def stretches(self, text: str) -> Iterator[Stretch]:
        """The parts of a text with marks, without marks; empty ones are left out."""
        at = 0
        for mark in _MARK.finditer(text):
            if mark.start() > at:
                yield Stretch(text[at : mark.start()], inert=False)
            yield Stretch(self._piece(mark), inert=True)
            at = mark.end()
        if at < len(text):
            yield Stretch(text[at:], inert=False)
