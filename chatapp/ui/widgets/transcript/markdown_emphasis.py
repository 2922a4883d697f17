"""Which asterisks, underscores and tildes of a text are Markdown; all others are characters.

CommonMark would take them out of `2*3*4`, `__init__`, `/* a */` and `int (*f)(int*, char*)`. Here a mark is markup only
where it can hardly be anything else: it opens after a space and before a word, it closes after a word and before a
space or punctuation, it has a partner of its own kind, and what lies between looks like prose.
"""

import re
from dataclasses import dataclass

from markdown_it.rules_inline import StateInline
from markdown_it.rules_inline.state_inline import Delimiter

LONGEST_ITALICS = 1000
"""Characters between two single marks; what is longer is two marks without partners."""
_DEPTH = 32
"""How many open marks are tried for one that closes, so that a text of open marks takes linear time."""

_LENGTHS = {"*": (1, 2, 3), "_": (1, 2, 3), "~": (2,)}
_SPACELESS = (
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\ua000-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uff65]"
)
"""Scripts that write no spaces between words, and their punctuation."""
_EDGE = rf"|(?:)|\s|{_SPACELESS}"
_SYMBOL = r"[^\x00-\x7f\w\s]"

# What may stand beside a run of marks: beside a single one, and beside two or three, which code has less often.
_OPENS_AFTER = (
    re.compile(rf"[(\[“‘«„—–\"']{_EDGE}"),
    re.compile(rf"[(\[“‘«„—–\"':>-]|{_SYMBOL}{_EDGE}"),
)
_OPENS_BEFORE = (
    re.compile(rf"[^\W_]|[\"'(<\[`$\\\-+@#&]|{_SYMBOL}"),
    re.compile(rf"[^\W_]|[\"'(<\[`$\\\-+@#&.{{%!?=]|{_SYMBOL}"),
)
_CLOSES_AFTER = re.compile(r"[^\s/\\(\[{<=|^]")
_CLOSES_BEFORE = (
    re.compile(rf"[.,;:!?)\]\"'\-|]|{_SYMBOL}{_EDGE}"),
    re.compile(rf"[.,;:!?)\]\"'\-|(\[<]|{_SYMBOL}{_EDGE}"),
)
# Between two kinds of punctuation a mark is no markup, as in '*' and (*); these are the exceptions.
_PLAIN = re.compile(rf"[^\W_]{_EDGE}")
_OPENS_BEFORE_QUOTES_AFTER = "“‘«„—–:>"
_CLOSES_AFTER_PUNCTUATION_BEFORE = re.compile(rf"[.,;:!?)…<]{_EDGE}")


@dataclass(slots=True)
class Mark(Delimiter):
    """One mark of a run, as markdown-it's own rules want it, with the place in the source where its run begins."""

    at: int = 0


@dataclass(slots=True)
class _Run:
    first: int
    """Its first mark that has no partner yet."""
    rest: int
    mark: Mark


def tokenize(state: StateInline, silent: bool) -> bool:
    """The inline rule: each mark of a run is a text of its own until its partner is found."""
    mark = state.src[state.pos]
    if silent or mark not in _LENGTHS:
        return False
    start = end = state.pos
    while end < state.posMax and state.src[end] == mark:
        end += 1
    opens, closes = flanks(state.src, start, end)
    run = state.src[start:end]
    if not (opens or closes):
        state.append_pending(run)
    else:
        pieces = [run] if mark == "~" else run
        for piece in pieces:
            state.push("text", "", 0).content = piece
            token = len(state.tokens) - 1
            state.delimiters.append(Mark(ord(mark), len(pieces), token, -1, opens, closes, at=start))
    state.pos = end
    return True


def flanks(src: str, start: int, end: int) -> tuple[bool, bool]:
    """Whether a run of marks can open, and whether it can close; other marks beside it are looked through."""
    length = end - start
    if length not in _LENGTHS[src[start]]:
        return False, False
    several = length > 1
    left, right = start, end
    while left > max(0, start - 4) and src[left - 1] in _LENGTHS:
        left -= 1
    while right < min(len(src), end + 4) and src[right] in _LENGTHS:
        right += 1
    before, after = src[left - 1 : left] if left else "", src[right : right + 1]
    opens = bool(_OPENS_AFTER[several].fullmatch(before) and _OPENS_BEFORE[several].fullmatch(after))
    if opens and not _PLAIN.fullmatch(before):
        opens = before in _OPENS_BEFORE_QUOTES_AFTER or bool(_PLAIN.fullmatch(after))
    closes = bool(_CLOSES_AFTER.fullmatch(before) and _CLOSES_BEFORE[several].fullmatch(after))
    if closes and not _PLAIN.fullmatch(before) and before.isascii():
        closes = bool(_CLOSES_AFTER_PUNCTUATION_BEFORE.fullmatch(after))
    if several and src.startswith("/**", end) and before.isalnum():
        closes = True  # **either**/**or**
    if several and src.startswith("**/", start - 3) and after.isalnum():
        opens = True
    return opens, closes


def pair(state: StateInline) -> None:
    """The rule that finds partners, in the text and in each link of it."""
    inner = [meta["delimiters"] for meta in state.tokens_meta if meta and "delimiters" in meta]
    for delimiters in (state.delimiters, *inner):
        find_partners([mark for mark in delimiters if isinstance(mark, Mark)], state.src)


def find_partners(marks: list[Mark], src: str) -> None:
    """Set `end` of each mark that opens and has a partner."""
    waiting: dict[int, list[_Run]] = {}
    i = 0
    while i < len(marks):
        mark = marks[i]
        run = _Run(i, mark.length, mark)
        i += mark.length
        if mark.close:
            while run.rest and (opener := _opener(waiting.get(mark.marker, []), run)) is not None:
                for runs in waiting.values():
                    while runs and runs[-1].first > opener.first:
                        runs.pop()
                n = min(run.rest, opener.rest)
                if not is_prose(src[opener.mark.at + opener.mark.length : mark.at], chr(mark.marker), n):
                    waiting[mark.marker].pop()
                    break
                for k in range(n):
                    marks[opener.first + opener.rest - 1 - k].end = run.first + k
                run.first, run.rest, opener.rest = run.first + n, run.rest - n, opener.rest - n
                if not opener.rest:
                    waiting[mark.marker].pop()
        if mark.open and run.rest == mark.length:
            waiting.setdefault(mark.marker, []).append(run)


def _opener(waiting: list[_Run], closer: _Run) -> _Run | None:
    """The nearest open run of the same length; a run of three can also do for one and two."""
    fits = (run for run in waiting[-1 : -_DEPTH - 1 : -1] if run.rest == closer.rest or 3 in (run.rest, closer.rest))
    return next(fits, None)


def is_prose(between: str, mark: str, length: int) -> bool:
    """Whether the text between two marks can be what they emphasize, and not code that happens to have such marks."""
    if mark == "_":
        name = r"\w+" if length > 1 else r"\w*[_\d]\w*"
        if re.fullmatch(name, between.strip("_")):
            return False  # __init__, _a_b_
    if length > 1:
        return True
    if "\n" in between or len(between) > LONGEST_ITALICS or (between.endswith(".") and " " not in between):
        return False
    if re.search(r"[={}]|\w\*\w", between):
        return False  # int *p = a*b; char* q
    depth = 0
    for bracket in re.findall(r"[()\[\]{}]", between):
        depth += 1 if bracket in "([{" else -1
        if depth < 0:
            return False  # (*f)(int*
    return True
