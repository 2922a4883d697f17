"""Splits a reply, while it is generated, into reasoning, answer and markup."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, NamedTuple

from chatapp.thinking.families import Family
from chatapp.thinking.fence import Fence

_BLANK: Final = b" \t\r\n"
_PLAIN, _INSIDE, _FIRST = 0, 1, 2
"""What a byte is: text, or a byte of a special token, whose first byte is told apart."""


class Kind(Enum):
    """What a part of a reply is."""

    REASONING = "reasoning"
    ANSWER = "answer"
    MARKUP = "markup"
    """Markers, the white space around them, and special tokens."""


class Part(NamedTuple):
    """Consecutive bytes of one kind. They may end inside a character, which the next part of this kind continues."""

    kind: Kind
    data: bytes


class _State(Enum):
    BEGIN = "before a thought or an answer"
    OPENED = "white space behind the marker that opens a thought"
    THOUGHT = "in a thought"
    ANSWER = "in an answer"


@dataclass(frozen=True, slots=True)
class _Marker:
    """A marker as bytes, and which of them must come from special tokens."""

    data: bytes
    origin: bytes

    @classmethod
    def of(cls, text: str, specials: Sequence[str]) -> "_Marker":
        """`specials`: the spellings of special tokens, the longest first."""
        data, origin = bytearray(), bytearray()
        while text:
            special = next((each for each in specials if text.startswith(each)), "")
            size = len((special or text[0]).encode())
            data += (special or text[0]).encode()
            origin += bytes([_FIRST, *[_INSIDE] * (size - 1)] if special else [_PLAIN] * size)
            text = text[len(special) or 1 :]
        return cls(bytes(data), bytes(origin))


class Parser:
    """One reply. Each byte that is fed comes out once, in order, as soon as it is decided what it is.

    A thought begins at the beginning of the reply, where only white space precedes its marker; where a reply may have
    several messages, at the beginning of each. It ends with the first closing marker; nothing is recognised inside a
    code fence of the answer. A marker that is a special token, or has one in it, must come from that token.
    """

    def __init__(self, family: Family | None, *, opening: str = "", specials: Collection[str] = ()) -> None:
        """`opening` is what the template put before the reply: it may have begun a thought, or ended one.

        `specials` are the spellings of the special tokens that markers are made of. With no `family`, all that is not
        a special token is the answer.
        """
        spellings = sorted(filter(None, specials), key=len, reverse=True)

        def markers(texts: Iterable[str]) -> list[_Marker]:
            return [_Marker.of(text, spellings) for text in texts]

        self._openings = markers(family.openings if family else ())
        self._closings = markers(family.closings if family else ())
        self._answer_openings = markers(family.answer_openings if family else ())
        self._answer_closings = markers(family.answer_closings if family else ())
        self._between = markers(family.between if family else ())
        self._several = bool(self._between)
        self._data, self._origin = bytearray(), bytearray()
        self._fence = Fence()
        self._parts: list[Part] = []
        self._marked = False
        """A marker was there: white space before the answer is markup."""
        self._wrapped = self._several or not self._answer_openings
        """Whether a marker may end the answer: where one began it, or where none does in this family."""
        self._state = _State.BEGIN if family else _State.ANSWER
        self._ended = False
        self.has_thought = False
        """Whether a thought has begun in this reply."""
        if family:
            self._begin(family, opening)

    def _begin(self, family: Family, opening: str) -> None:
        """Take the state that the opening of the reply leaves."""
        groups = (
            (family.closings + family.between, _State.BEGIN),
            (family.openings, _State.OPENED),
            (family.answer_openings, _State.ANSWER),
        )
        last, longest = -1, 0
        for texts, state in groups:
            for text in texts:
                at = opening.rfind(text)
                end = at + len(text)
                if at >= 0 and (end, len(text)) > (last, longest):
                    last, longest, self._state = end, len(text), state
        self._marked = last >= 0
        self._wrapped = self._wrapped or self.answering
        self.has_thought = self.thinking

    @property
    def thinking(self) -> bool:
        """Whether a thought has begun and not ended."""
        return self._state in (_State.OPENED, _State.THOUGHT)

    @property
    def answering(self) -> bool:
        """Whether an answer has begun."""
        return self._state is _State.ANSWER

    @property
    def unclosed(self) -> bool:
        """Whether the reply has ended inside a thought: no answer came."""
        return self._ended and self.thinking

    def feed(self, piece: bytes, *, special: bool = False) -> list[Part]:
        """The parts that are decided with the next `piece`. `special`: it is the spelling of a special token."""
        self._data += piece
        self._origin += bytes([_FIRST, *[_INSIDE] * (len(piece) - 1)] if special and piece else [_PLAIN] * len(piece))
        return self._run()

    def end(self) -> list[Part]:
        """The parts that were held back, when the reply has ended."""
        self._ended = True
        parts = self._run()
        self._take(len(self._data), Kind.REASONING if self.thinking else Kind.ANSWER)
        return parts + self._flush()

    # ------------------------------------------------------------------ deciding

    def _run(self) -> list[Part]:
        steps = {
            _State.BEGIN: self._at_begin,
            _State.OPENED: self._at_opened,
            _State.THOUGHT: self._at_thought,
            _State.ANSWER: self._at_answer,
        }
        while self._data and steps[self._state]():
            pass
        return self._flush()

    def _at_begin(self) -> bool:
        """Before a thought or an answer: True where something was decided."""
        if self._marked:
            self._take(self._n_blank(), Kind.MARKUP)
        blank = self._n_blank()
        if blank == len(self._data):
            return False
        states = ((self._openings, _State.OPENED), (self._answer_openings, _State.ANSWER), (self._between, self._state))
        for markers, state in states:
            if size := self._match(markers, blank):
                self._take(blank + size, Kind.MARKUP)
                self._state, self._marked = state, True
                self._wrapped = self._wrapped or self.answering
                self.has_thought = self.has_thought or self.thinking
                return True
        if any(self._may_become(markers, blank) for markers, _ in states):
            return False
        if self._origin[blank] != _PLAIN:
            self._take(blank + self._size_of_special(blank), Kind.MARKUP)
            return True
        self._state = _State.ANSWER
        return True

    def _at_opened(self) -> bool:
        self._take(self._n_blank(), Kind.MARKUP)
        if self._data:
            self._state = _State.THOUGHT
        return bool(self._data)

    def _at_thought(self) -> bool:
        at = kept = 0
        """Behind `kept` is white space, which belongs to a marker if one follows."""
        while at < len(self._data):
            if size := self._match(self._closings, at):
                self._take(kept, Kind.REASONING)
                self._take(at - kept + size, Kind.MARKUP)
                self._state = _State.BEGIN
                return True
            if self._may_become(self._closings, at):
                break
            if self._origin[at] != _PLAIN:
                self._take(at, Kind.REASONING)
                self._take(self._size_of_special(0), Kind.MARKUP)
                return True
            at += 1
            if self._data[at - 1] not in _BLANK:
                kept = at
        self._take(kept, Kind.REASONING)
        return False

    def _at_answer(self) -> bool:
        closings = self._answer_closings if self._wrapped else ()
        at = 0
        while at < len(self._data):
            if self._origin[at] != _PLAIN or any(marker.data[0] == self._data[at] for marker in closings):
                self._take(at, Kind.ANSWER)
                at = 0
                if not self._fence.is_open:
                    if size := self._match(closings, 0):
                        self._take(size, Kind.MARKUP)
                        self._wrapped = self._several
                        self._state = _State.BEGIN if self._several else _State.ANSWER
                        self._fence = Fence()
                        return True
                    if self._may_become(closings, 0):
                        return False
                if self._origin[0] != _PLAIN:
                    self._take(self._size_of_special(0), Kind.MARKUP)
                    return True
            at += 1
        self._take(at, Kind.ANSWER)
        return False

    # ------------------------------------------------------------------ what is held

    def _match(self, markers: Sequence[_Marker], at: int) -> int:
        """The size of the longest of these markers that stands at `at`, 0 where none does."""
        return max((len(each.data) for each in markers if self._stands(each, at, len(each.data))), default=0)

    def _may_become(self, markers: Sequence[_Marker], at: int) -> bool:
        """Whether what is held from `at` on is the beginning of one of these markers."""
        size = len(self._data) - at
        return not self._ended and any(size < len(each.data) and self._stands(each, at, size) for each in markers)

    def _stands(self, marker: _Marker, at: int, size: int) -> bool:
        """Whether the first `size` bytes of the marker stand at `at`."""
        end = at + size
        if not (self._data.startswith(marker.data[:size], at) and self._origin.startswith(marker.origin[:size], at)):
            return False
        return end == len(self._data) or self._origin[end] != _INSIDE

    def _n_blank(self) -> int:
        return len(self._data) - len(self._data.lstrip(_BLANK))

    def _size_of_special(self, at: int) -> int:
        return next((i for i in range(at + 1, len(self._data)) if self._origin[i] != _INSIDE), len(self._data)) - at

    def _take(self, size: int, kind: Kind) -> None:
        """Let the first `size` bytes go."""
        if not size:
            return
        data = bytes(self._data[:size])
        del self._data[:size], self._origin[:size]
        if kind is Kind.ANSWER:
            self._fence.feed(data)
        if self._parts and self._parts[-1].kind is kind:
            data = self._parts.pop().data + data
        self._parts.append(Part(kind, data))

    def _flush(self) -> list[Part]:
        parts, self._parts = self._parts, []
        return parts
