r"""A parser for Markdown as models write it: what is not clearly Markdown is shown as it was written.

CommonMark gives a meaning to nearly everything: it takes the backslashes out of `C:\_me`, makes `f[i](x)` a link, and
drops `[INFO]: started` as the definition of one. Here these stay. The rules are markdown-it's, under more conditions:

- no HTML, entities, escapes, definitions of links, `<links>` and headings that are underlined: they are text;
- a link leads to a web address, an emphasis is prose (markdown_emphasis.py), LaTeX is kept (markdown_maths.py);
- a list, a heading, a quotation has something in it, and does not look like arithmetic, a shell or a schedule;
- of a table no cell is dropped, of a code block no word; each line end is kept.
"""

import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.helpers import parseLinkLabel
from markdown_it.rules_block import StateBlock, blockquote, heading, hr, list_block, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline, image, link

from chatapp.ui.widgets.transcript import markdown_emphasis, markdown_maths

DEEPEST_QUOTE = 6
DEEPEST_LIST = 12
"""Levels of nesting, two for a list and its item; deeper ones are text with its marks. markdown-it would drop what is
nested deeper than 20 levels, and a terminal has few columns for it."""

_WEB = re.compile(r"(?:https?://|mailto:)", re.IGNORECASE)
_WEB_TARGET = re.compile(r"\]\(\s*<?(?:https?://|mailto:)", re.IGNORECASE)
_PUNCTUATION = re.compile(r"\\[!-/:-@\[-`{-~]")
_LANGUAGE = re.compile(r"[\w+#.-]*")
_CELL_END = re.compile(r"(?<!\\)\|")
_OPAQUE = re.compile(r"`[^`]+`|\$[^$\s][^$]*\$|\\\(.+?\\\)")
_ROW_ENDS = re.compile(r"^\||(?<!\\)\|$")
_QUOTED = re.compile(r">(?:[ \t]*>|[ \t]+\S|[^\W\d_]|[\"'*_\[`“‘«])")
_SUM = re.compile(r"[\d\s.,+*/=()^×÷-]*\d[\d\s.,+*/=()^×÷-]*")
_BULLETS_IN_A_ROW = re.compile(r"(?:[-+*][ \t]+){3}")
_BULLET = re.compile(r"([-+*])[ \t]+(.*)")
_EMPTY_ITEM = re.compile(r"(?:[-+*]|\d{1,9}[.)])[ \t]*")


@cache
def safe_parser() -> MarkdownIt:
    """One parser is shared: making one takes longer than parsing a paragraph, and Textual asks for one each time.

    With HTML on, Textual would drop `<b>` and `List<String>`: text would be lost.
    """
    parser = MarkdownIt("gfm-like", {"html": False})
    parser.disable(["autolink", "entity", "lheading", "reference"])
    blocks, inlines = parser.block.ruler, parser.inline.ruler
    # `alt` names the blocks that a rule ends; markdown-it does not remember it.
    blocks.at("table", _table, {"alt": ["paragraph"]})
    blocks.at("blockquote", _blockquote, {"alt": ["paragraph", "blockquote", "list"]})
    blocks.at("hr", _rule, {"alt": ["paragraph", "blockquote", "list"]})
    blocks.at("list", _list, {"alt": ["paragraph", "blockquote"]})
    blocks.at("heading", _heading, {"alt": ["paragraph", "blockquote"]})
    blocks.before("blockquote", "maths", markdown_maths.block, {"alt": ["paragraph", "blockquote", "list"]})
    inlines.before("escape", "maths", markdown_maths.inline)
    inlines.at("escape", _escape)
    inlines.disable("strikethrough")
    inlines.at("emphasis", markdown_emphasis.tokenize)
    inlines.at("link", _link)
    inlines.at("image", _image)
    parser.inline.ruler2.at("balance_pairs", markdown_emphasis.pair)
    parser.core.ruler.push("as_written", _as_written)
    parser.validateLink = _is_web  # pyright: ignore[reportAttributeAccessIssue] - how markdown-it is told
    parser.normalizeLinkText = str  # pyright: ignore[reportAttributeAccessIssue] - %1b stays %1b
    parser.parse("")  # its rules are compiled at the first text, and Textual parses several texts at once in threads
    return parser


def shown_info(info: str) -> str:
    """What is shown of the words after the mark that opens a code block: nothing if they name a language."""
    return "" if _LANGUAGE.fullmatch(info.strip()) else info.strip()


def cells(row: str, columns: int) -> list[str]:
    """The cells of a row of a table, the last one with all that would not fit; backslashes stay."""
    row = _ROW_ENDS.sub("", row.strip())
    found = [row] if columns == 1 else _CELL_END.split(row, columns - 1)
    if 1 < columns == len(found) and _CELL_END.search(found[-1]):
        # Too many: a bar in code or maths separates none, if that makes them fewer.
        guarded = _OPAQUE.sub(lambda inside: inside[0].replace("|", "\0"), row)
        found = [cell.replace("\0", "|") for cell in _CELL_END.split(guarded, columns - 1)]
    return [cell.strip() for cell in found] + [""] * (columns - len(found))


def _is_web(address: str) -> bool:
    return _WEB.match(address) is not None


def _begins(state: StateBlock, line: int, marks: str) -> bool:
    at = state.bMarks[line] + state.tShift[line]
    return at < state.eMarks[line] and state.src[at] in marks


def _line(state: StateBlock, number: int) -> str:
    if not 0 <= number < state.lineMax:
        return ""
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()


def _table(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    first = len(state.tokens)
    if "|" not in _line(state, startLine + 1) or not table(state, startLine, endLine, silent):
        return False
    if not silent:
        columns = sum(token.type == "th_open" for token in state.tokens[first:])
        row = iter(list[str]())
        for token in state.tokens[first:]:
            if token.type == "tr_open" and token.map is not None:
                row = iter(cells(_line(state, token.map[0]), columns))
            elif token.type == "inline":
                token.content = next(row)
    return True


def _blockquote(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    if not _begins(state, startLine, ">") or state.level >= DEEPEST_QUOTE:
        return False
    line = _line(state, startLine)
    bare = line == ">" and _line(state, startLine + 1).startswith(">")
    if not bare and (_QUOTED.match(line) is None or line.startswith(">>>")):
        return False
    return blockquote(state, startLine, endLine, silent)


def _rule(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    if not _begins(state, startLine, "*-_"):
        return False
    line = _line(state, startLine)
    if " " in line and len(line.split()) > 3:
        return False  # * * * * *
    return hr(state, startLine, endLine, silent)


def _list(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    if not _begins(state, startLine, "*-+0123456789") or state.level >= DEEPEST_LIST:
        return False
    line = _line(state, startLine)
    if _EMPTY_ITEM.fullmatch(line) or _BULLETS_IN_A_ROW.match(line):
        return False
    interrupts = silent and state.parentType == "paragraph" and state.level == 0
    if interrupts and line.startswith("+"):
        return False  # x = a\n+ b
    item = _BULLET.match(line)
    if item is not None and state.level == 0 and (interrupts or not silent) and _SUM.fullmatch(item[2]):
        following = _BULLET.match(_line(state, startLine + 1))
        if following is None or following[1] != item[1] or (interrupts and _SUM.fullmatch(_line(state, startLine - 1))):
            return False  # 10\n- 5
    return list_block(state, startLine, endLine, silent)


def _heading(state: StateBlock, startLine: int, endLine: int, silent: bool) -> bool:
    if not _begins(state, startLine, "#"):
        return False
    line = _line(state, startLine)
    if not line.strip("# \t") or not heading(state, startLine, endLine, silent):
        return False
    if not silent:
        level = len(state.tokens[-3].markup)
        text = line[level:].strip()
        closed = re.compile(rf"(.*?)[ \t]#{{{level}}}").fullmatch(text)
        state.tokens[-2].content = text if closed is None else closed[1].rstrip()
    return True


def _escape(state: StateInline, silent: bool) -> bool:
    """A backslash and the mark that it is written before are two characters, and neither is markup."""
    pair = _PUNCTUATION.match(state.src, state.pos)
    if pair is None or pair.end() > state.posMax:
        return False
    if not silent:
        state.append_pending(pair[0])
    state.pos = pair.end()
    return True


def _leads_to_the_web(state: StateInline, label: int) -> bool:
    if "](" not in state.src:
        return False
    end = parseLinkLabel(state, label, True)
    return end >= 0 and _WEB_TARGET.match(state.src, end) is not None


def _link(state: StateInline, silent: bool) -> bool:
    return state.src[state.pos] == "[" and _leads_to_the_web(state, state.pos) and link(state, silent)


def _image(state: StateInline, silent: bool) -> bool:
    if not state.src.startswith("![", state.pos) or not _leads_to_the_web(state, state.pos + 1):
        return False
    return image(state, silent)


def _as_written(state: StateCore) -> None:
    for token in state.tokens:
        if token.type == "fence":
            if info := shown_info(token.info):
                token.content, token.info = f"{info}\n{token.content}", ""
            elif not token.content and token.map is not None and token.map[1] == token.map[0] + 1:
                token.content = token.markup + token.info  # all that was written
        for child in token.children or ():
            if child.type == "softbreak":
                child.type = "hardbreak"
