"""The text that a model is given, laid out for people: lines of styled spans, with a heading for each message.

What a style says is also said by a sign, for eyes and terminals without colour: special tokens stand between ⟨ and ⟩,
line ends are shown as ↵, tabs as ⇥, and what was evicted between dots.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from chatapp.cache.ledger import MOST_GONE
from chatapp.presentation.format import count, plural
from chatapp.protocol.values import Ghost
from chatapp.protocol.window_text import TextPart, TextPiece
from chatapp.text import visible

TEXT, SPECIAL, HEADING, GAP, SIGN = "text", "special", "heading", "gap", "sign"
"""The styles of spans."""
_KINDS = {"sink": "sinks", "pinned": "pinned", "recalled": "recalled"}


class Span(NamedTuple):
    """Consecutive characters of one style."""

    text: str
    style: str


Line = tuple[Span, ...]


def lines(parts: Sequence[TextPart], ghosts: Sequence[Ghost] = (), pending: TextPart | None = None) -> list[Line]:
    """All lines: each part with its heading, and what was evicted where it stood; `pending` comes last."""
    found: list[Line] = []
    gone = _Gone(parts, ghosts)
    for part in parts:
        found += gone.before(part)
        found += _with_heading(part, heading(part))
    found += gone.rest()
    if pending is not None:
        found += _with_heading(pending, f"{heading(pending)} · not in the cache yet: decoded with the next message")
    return found[1:] if found and not found[0] else found


def whole(parts: Sequence[TextPart]) -> str:
    """The very text of all parts, with nothing added."""
    return "".join(piece.text for part in parts for piece in part.pieces)


def heading(part: TextPart) -> str:
    """Whose text this is.

    >>> heading(TextPart(turn=3, role="user", kind="pinned", pieces=[], tokens=120))
    'Turn 3 · user · pinned · 120 tokens'
    """
    words = ["Before the first turn" if part.turn == 0 else f"Turn {part.turn:,}", part.role]
    if part.kind in _KINDS:
        words.append(_KINDS[part.kind])
    if part.tokens is not None:
        words.append(plural(part.tokens, "token"))
    return " · ".join(words)


def _with_heading(part: TextPart, title: str) -> Iterator[Line]:
    yield ()
    yield (Span(title, HEADING),)
    if part.lost:
        yield from body(part.pieces[: part.lost_at])
        yield (Span(f"… {plural(part.lost, 'token')} evicted …", GAP),)
        yield from body(part.pieces[part.lost_at :])
    else:
        yield from body(part.pieces)


def body(pieces: Sequence[TextPiece]) -> Iterator[Line]:
    """The lines of a text. Special tokens are one span each, and each line end is visible.

    >>> list(body([TextPiece(text="<s>", special=True), TextPiece(text="Hi\\n")]))
    [(Span(text='⟨<s>⟩', style='special'), Span(text='Hi', style='text'), Span(text='↵', style='sign'))]
    """
    line: list[Span] = []
    for piece in pieces:
        if piece.special:
            line.append(Span(f"⟨{visible(piece.text).translate(_SIGNS)}⟩", SPECIAL))
            continue
        first, *others = visible(piece.text).split("\n")
        line += _with_signs(first)
        for text in others:
            yield (*line, Span("↵", SIGN))
            line = _with_signs(text)
    if line:
        yield tuple(line)


_SIGNS = str.maketrans({"\n": "↵", "\t": "⇥"})


def _with_signs(text: str) -> list[Span]:
    spans: list[Span] = []
    for i, between in enumerate(text.split("\t")):
        if i:
            spans.append(Span("⇥", SIGN))
        if between:
            spans.append(Span(between, TEXT))
    return spans


class _Gone:
    """Turns that lost tokens which no part tells of, each shown where the turn stood."""

    def __init__(self, parts: Sequence[TextPart], ghosts: Sequence[Ghost]) -> None:
        told: dict[int, int] = {}
        for part in parts:
            told[part.turn] = told.get(part.turn, 0) + part.lost
        left = [(ghost.turn, ghost.tokens - told.get(ghost.turn, 0)) for ghost in ghosts]
        self._left = [(turn, tokens) for turn, tokens in left if tokens > 0]
        self._earlier = len(ghosts) >= MOST_GONE

    def before(self, part: TextPart) -> list[Line]:
        """Those that stood before this part."""
        if part.turn == 0 or part.kind == "recalled":
            return []
        n = sum(turn < part.turn for turn, _ in self._left)
        return self._told(n)

    def rest(self) -> list[Line]:
        """Those that are left."""
        return self._told(len(self._left))

    def _told(self, n: int) -> list[Line]:
        now, self._left = self._left[:n], self._left[n:]
        if not now:
            return []
        first, last = now[0][0], now[-1][0]
        turns = f"turn {first:,}" if first == last else f"turns {first:,}–{last:,}"
        earlier, self._earlier = " and earlier ones" if self._earlier else "", False
        tokens = sum(tokens for _, tokens in now)
        return [(), (Span(f"… {turns}{earlier}: {plural(tokens, 'token')} evicted …", GAP),)]


def title(tokens: int, n_ctx: int) -> str:
    """What heads the whole text.

    >>> title(1204, 4096)
    'The text of the window: 1,204 of 4,096 tokens'
    """
    return f"The text of the window: {count(tokens)} of {count(n_ctx)} tokens"
