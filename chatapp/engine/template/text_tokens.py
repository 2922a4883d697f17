"""From rendered text to tokens: those that llama.cpp makes of the whole text, told apart by the parts they come from.

llama.cpp cuts a text at its special tokens and tokenizes what lies between them each on its own (llama-vocab.cpp,
tokenizer_st_partition). So do we, for two reasons: what people wrote must not become a special token, and of a text
that continues what is cached already, only what is new is tokenized. A SentencePiece vocabulary puts a space before
whatever it tokenizes, which is right after a special token and wrong anywhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from chatapp.engine.template.inert import Marks, spelled

_WHITE = " \t\n\v\f\r"
_SEPARATORS = ("\n", "\x02", "\uf8ff")
"""Characters that no vocabulary merges with what follows them: one is put before a text that continues another."""


@dataclass(frozen=True, slots=True)
class _Item:
    """A special token, or text between two; of the part with this index."""

    part: int
    text: str
    special: bool


class TextTokens:
    """One vocabulary."""

    def __init__(
        self,
        tokenize: Callable[[str, bool], list[int]],
        spell: Callable[[int], bytes],
        spellings: Sequence[str],
        strips: Mapping[str, tuple[bool, bool]],
    ) -> None:
        """`tokenize(text, special)` gives token ids, `spell(id)` the bytes that a token stands for, a special one too;
        `spellings` are those of the special tokens; `strips` those around which white space is dropped, before the
        token and after it.
        """
        self._tokenize, self._spell, self._strips = tokenize, lru_cache(1 << 12)(spell), strips
        self.specials = spelled(spellings)
        self._longest = max(map(len, spellings), default=0)
        self._parsed_always = {text for text in spellings if tokenize(text, False) == tokenize(text, True)}
        self._puts_space = b"".join(map(spell, tokenize("a", False))) == b" a"

    def text(self, tokens: Sequence[int]) -> str:
        """The text of these tokens, special ones spelled out; what is no UTF-8 becomes replacement characters."""
        return b"".join(map(self._spell, tokens)).decode(errors="replace")

    def of(
        self, parts: Sequence[str], marks: Marks, *, after: str | None = None, apart: int = 0
    ) -> list[tuple[int, ...]]:
        """The tokens of each part of one text, which continues one that ends with `after`, or begins where that is
        None.

        A token that lies across an edge belongs to the earlier part; but the first `apart` parts end with a token.
        """
        tokens: list[list[int]] = [[] for _ in parts]
        items = self._items(parts)
        at, across = 0, False
        before = None if after is None else self._last_special(after)
        continues = after is not None and before is None
        while at < len(items):
            item = items[at]
            if item.special:
                tokens[item.part] += self._tokenize(item.text, True)
                before, continues = item.text, False
                at += 1
                continue
            end = next((i for i in range(at, len(items)) if items[i].special), len(items))
            behind = items[end].text if end < len(items) else None
            texts = self._stripped([each.text for each in items[at:end]], before, behind)
            found, crossed = self._between(texts, marks, continues=continues)
            for each, ids in zip(items[at:end], found, strict=True):
                tokens[each.part] += ids
            across |= any(items[at + i].part < apart <= items[at + i + 1].part for i in crossed if at + i + 1 < end)
            at = end
        if across:
            first = self.of(parts[:apart], marks, after=after)
            return [*first, *self.of(parts[apart:], marks, after="".join(parts[:apart]))]
        return [tuple(ids) for ids in tokens]

    def _last_special(self, text: str) -> str | None:
        """The special token that a text ends with."""
        matches = self.specials.finditer(text, max(0, len(text) - self._longest))
        return next((match[0] for match in matches if match.end() == len(text)), None)

    def _items(self, parts: Sequence[str]) -> list[_Item]:
        items: list[_Item] = []
        for index, part in enumerate(parts):
            at = 0
            for match in self.specials.finditer(part):
                if match.start() > at:
                    items.append(_Item(index, part[at : match.start()], special=False))
                items.append(_Item(index, match[0], special=True))
                at = match.end()
            if at < len(part):
                items.append(_Item(index, part[at:], special=False))
        return items

    def _stripped(self, texts: list[str], before: str | None, behind: str | None) -> list[str]:
        """Without the white space that the special tokens on both sides take in."""
        if before is not None and self._strips.get(before, (False, False))[1]:
            for i, text in enumerate(texts):
                texts[i] = text.lstrip(_WHITE)
                if texts[i]:
                    break
        if behind is not None and self._strips.get(behind, (False, False))[0]:
            for i in reversed(range(len(texts))):
                texts[i] = texts[i].rstrip(_WHITE)
                if texts[i]:
                    break
        return texts

    def _between(self, texts: Sequence[str], marks: Marks, *, continues: bool) -> tuple[list[list[int]], list[int]]:
        """The tokens of each of these texts, between two special tokens, and the indices of those whose last token is
        partly of the next one.
        """
        plain = [marks.shown(text) for text in texts]
        if not any(plain):
            return [[] for _ in plain], []
        tokens: list[int] = []
        for i, chunk in enumerate(self._chunks("".join(texts), marks)):
            tokens += self._continued(chunk) if continues or i else self._tokenize(chunk, False)
        if len(texts) == 1:
            return [tokens], []
        data = [text.encode() for text in plain]
        cuts = self._cuts(tokens, data, 0 if continues or not self._puts_space else 1)
        if cuts is None:  # the vocabulary changes the text: each for itself, then
            first = next(i for i, text in enumerate(plain) if text)
            return [
                self._continued(text) if continues or i > first else self._tokenize(text, False)
                for i, text in enumerate(plain)
            ], []
        edges, crossed = cuts
        return [tokens[a:b] for a, b in zip([0, *edges], [*edges, len(tokens)], strict=True)], crossed

    def _chunks(self, text: str, marks: Marks) -> list[str]:
        """The text without marks, cut inside what people spelled of a special token that llama.cpp parses always."""
        chunks = [""]
        for stretch in marks.stretches(text):
            if stretch.inert and stretch.text in self._parsed_always:
                chunks[-1] += stretch.text[:1]
                chunks.append(stretch.text[1:])
            else:
                chunks[-1] += stretch.text
        return [chunk for chunk in chunks if chunk]

    def _continued(self, text: str) -> list[int]:
        """The tokens of a text that continues another one: without a space before it that is not there."""
        if not self._puts_space or not text:
            return self._tokenize(text, False)
        for separator in _SEPARATORS:
            alone = self._tokenize(separator, False)
            both = self._tokenize(separator + text, False)
            if both[: len(alone)] == alone:
                return both[len(alone) :]
        return self._tokenize(text, False)

    def _cuts(self, tokens: Sequence[int], texts: Sequence[bytes], extra: int) -> tuple[list[int], list[int]] | None:
        """Where among `tokens` each text but the last ends, and the indices of those whose end lies inside a token; the
        first token has `extra` bytes more. None where the tokens' bytes are not those of the texts.
        """
        size = sum(map(len, texts))
        whole = b"".join(texts)
        edges, crossed, end = list[int](), list[int](), 0
        for index, text in enumerate(texts[:-1]):
            end += len(text)
            found = (
                self._from_left(tokens, whole, end, extra) if 2 * end < size else self._from_right(tokens, whole, end)
            )
            if found is None:
                return None
            edge, inside = found
            edges.append(max([edge, *edges[-1:]]))
            if inside:
                crossed.append(index)
        return edges, crossed

    def _from_left(self, tokens: Sequence[int], whole: bytes, end: int, extra: int) -> tuple[int, bool] | None:
        """How many tokens begin before byte `end`, and whether the last of them ends behind it."""
        data = b""
        count = 0
        while len(data) - extra < end and count < len(tokens):
            data += self._spell(tokens[count])
            count += 1
        if not whole.startswith(data[extra:]) or len(data) - extra < end:
            return None
        return count, len(data) - extra > end

    def _from_right(self, tokens: Sequence[int], whole: bytes, end: int) -> tuple[int, bool] | None:
        """The same, looked for from the end."""
        data: list[bytes] = []
        length, count = 0, len(tokens)
        while length < len(whole) - end and count:
            count -= 1
            data.append(self._spell(tokens[count]))
            length += len(data[-1])
        joined = b"".join(reversed(data))
        if not whole.endswith(joined[-len(whole) :]) or length < len(whole) - end:
            return None
        inside = length > len(whole) - end
        return (count + 1 if inside else count), inside
