r"""Maths as LaTeX has it, between `\(` and `\)`, `\[` and `\]`, `$$`, `$`, or `\begin{x}` and `\end{x}`.

It is shown in its source form, in the style of code, and nothing in it is Markdown. A line of its own may begin like a
list or a heading there, so that lines of maths are taken before these.
"""

import re

from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline

LONGEST = 8000
"""Characters from the beginning of a formula within which its end is looked for."""

_CLOSED_BY = {"\\(": "\\)", "\\[": "\\]", "$$": "$$"}
_BEGIN = re.compile(r"\\[(\[]|\$\$|\\begin\{([A-Za-z]+\*?)\}")
_DOLLARS = re.compile(r"\$(?![\s$])([^$\n`]{1,300})(?<![\s\\])\$(?![\w$])")
_LIKE_MATHS = re.compile(r"[\\^_{}=+*/<>|-]|\A.{1,2}\Z")
_STEP = re.compile(r"`+|\\[(\[]|\$\$|\\begin\{[A-Za-z]+\*?\}|\\.")
_OTHER_BLOCK = re.compile(r"[-+*](?:\s|$)|[>#|]|\d{1,9}[.)]\s")
_FENCE = re.compile(r"\s*(?:`{3}|~{3})")


def _closing(begin: re.Match[str]) -> str:
    return _CLOSED_BY.get(begin[0]) or begin[0].replace("begin", "end", 1)


def end_of(src: str, pos: int) -> int | None:
    """Where the formula that begins at `pos` ends; None if none begins there."""
    if (begin := _BEGIN.match(src, pos)) is not None:
        closing = _closing(begin)
        at = src.find(closing, begin.end(), pos + LONGEST)
        return None if at < begin.end() + (begin[0] == "$$") else at + len(closing)
    if src[pos] == "$" and not (pos and (src[pos - 1].isalnum() or src[pos - 1] in "\\$")):
        inside = _DOLLARS.match(src, pos)
        if inside is not None and "**" not in inside[1] and _LIKE_MATHS.search(inside[1]):
            return inside.end()
    return None


def inline(state: StateInline, silent: bool) -> bool:
    """The inline rule: a formula is one token, with its delimiters."""
    if state.src[state.pos] not in "\\$":
        return False
    end = end_of(state.src, state.pos)
    if end is None or end > state.posMax:
        return False
    if not silent:
        state.push("code_inline", "code", 0).content = state.src[state.pos : end]
    state.pos = end
    return True


def unclosed(line: str) -> tuple[int, str] | None:
    """Where a formula begins that does not end on this line, and what will end it."""
    if "\\" not in line and "$$" not in line:
        return None
    pos = 0
    while (step := _STEP.search(line, pos)) is not None:
        pos = step.end()
        if step[0].startswith("`"):
            partner = re.compile(f"(?<!`){step[0]}(?!`)").search(line, pos)
            pos = pos if partner is None else partner.end()
        elif (begin := _BEGIN.fullmatch(step[0])) is not None:
            closing = _closing(begin)
            at = line.find(closing, pos)
            if at < 0:
                return step.start(), closing
            pos = at + len(closing)
    return None


def block(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    """The block rule: the lines from the one where a formula begins to the one where it ends are a paragraph."""
    start, end = state.bMarks[startLine] + state.tShift[startLine], state.eMarks[startLine]
    line = state.src[start:end]
    found = unclosed(line)
    if found is None or (found[0] and _OTHER_BLOCK.match(line)) or state.is_code_block(startLine):
        return False
    at, closing = found
    if state.src.find(closing, end, start + at + LONGEST) < 0:
        return False
    for last in range(startLine + 1, endLine):
        text = state.src[state.bMarks[last] : state.eMarks[last]]
        empty = state.isEmpty(last)
        if _FENCE.match(text) or (empty and closing == "\\)") or (state.sCount[last] < state.blkIndent and not empty):
            return False
        if closing in text:
            break
    else:
        return False
    if silent:
        return True
    state.line = last + 1
    state.push("paragraph_open", "p", 1).map = [startLine, state.line]
    token = state.push("inline", "", 0)
    token.content = state.getLines(startLine, state.line, state.blkIndent, False).strip()
    token.map, token.children = [startLine, state.line], []
    state.push("paragraph_close", "p", -1)
    return True
