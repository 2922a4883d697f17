"""Replies of maths, code, paths, tables and marks without partners: drawn, whole, and free of control characters."""

import re

import pytest

from chatapp.text import visible
from chatapp.ui.widgets.transcript import markdown_stream
from tests.robustness.tries import Try, tries
from tests.support.ui.markdown_text import Reply, parsed, without_marks

FEW = 12
SIZES = (100, 150)
"""Columns and lines, so that all of a reply is on the screen."""
NEVER_SHOWN = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u2028\u2029]")
NAMED_LANGUAGE = re.compile(r"(?:```|~~~)[`~ \t]*[^\s`~]")
"""The word after a mark that opens a code block is not shown."""
WRITTEN = re.compile(r"[A-Za-z0-9\\${}^&;<=/\"'%()\[\]!?,.@]")
"""What is neither markup nor drawn by a widget of its own accord."""

LINES = [
    r"The value \(x_{P_1} * y_{P_2}\) of $a_1 * b_2$ is $$c^{*}*d^{*}$$.",
    r"\[ \sum_{i=1}^{n} a_i * b_i \]",
    "\\[\n- a_1 \\\\\n+ b*c*d\n\n= 1. e\n\\]",
    "$$\n# f *g*\n> h\n$$",
    "\\begin{align}\n- x &= y \\\\\n* z\n\\end{align}",
    r"C:\Users\_me\*.txt and \\srv\_x\*",
    "src/**/*.py, *.js, ~/x~, /a/*/b/*/c",
    r"^(a|b)*\d+\.[^*]*$ or (.*)(.*)?",
    "2*3*4, 2**3**4, snake_case_name, __init__.py, _x_1_",
    "/* one */ int (*f)(int*, char*); /* two */ f(*args, **kw)",
    "<tag attr='x'> &amp; &#27; &lt;b&gt; <!-- y --> List<String>",
    "# Head *it* #",
    "## Two ##",
    "> said *it*\n> again",
    "- item\n- **two**\n  - `three`\n\n    more",
    "+ plus\n+ more",
    "1) one\n2) two\n9) nine",
    "3. x\n3. y",
    "12\n+ 34\n= 46",
    "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n| x\\|y | *z* |",
    "a note[^1]\n\n[^1]: Smith",
    "f[i](x) and [INFO]: x",
    "#include <a.h>",
    "```\nint *p = a * b;\n# not a heading\n```",
    "    code *a* _b_",
    "**bold** *it* ***both*** ~~no~~ __two words__",
    "**open",
    "*open",
    "`open",
    "``a`b`` and `c",
    "\\(open",
    "$open",
    "~~open",
    "_open",
    "close*",
    "close**",
    "a\\\nb",
    "text\n---\nmore",
    "a\n===\n",
    "שלום\u200f 重点**重点**内容 می\u200cخواهم",
    "\x1b[31mred\x1b]52;c;aGk=\x07 \u202eevil\u2066",
    "http://x.example/%1b[31m?a=_b_",
]
PIECES = [
    "*",
    "**",
    "_",
    "~~",
    "`",
    "\\",
    "\\(",
    "\\]",
    "$",
    "$$",
    "<",
    ">",
    "#",
    "- ",
    "| ",
    "\n",
    "\n\n",
    "    ",
    "(",
    "]",
    "[",
    "&",
    ";",
    "{",
    "}",
    "w",
    "7",
    " ",
    "=",
    "\t",
    "1. ",
    "\x00",
    "\x9b",
    "\ud800",
]


def a_reply(attempt: Try) -> str:
    """Some lines of different kinds, some of them cut off or followed by marks at random, each with its own word."""
    blocks: list[str] = []
    for number in range(attempt.randint(1, 8)):
        line = attempt.choice(LINES)
        if attempt.random() < 0.2 and "```" not in line:
            line = line[: attempt.randrange(len(line) + 1)]
        noise = "".join(attempt.choices(PIECES, k=attempt.randrange(6))) if attempt.random() < 0.5 else ""
        blocks += [line, attempt.choice(["\n\n", "\n\n", "\n", " "]), noise, f" word{number}", "\n\n"]
    return "".join(blocks)


def in_pieces(attempt: Try, text: str) -> list[str]:
    """The text, cut anywhere."""
    pieces: list[str] = []
    while text:
        size = attempt.choice([1, 2, 5, 17, 90])
        pieces.append(text[:size])
        text = text[size:]
    return pieces


def test_nothing_of_a_reply_is_lost_and_nothing_is_added() -> None:
    """By the parser, in thousands of mixtures."""
    for attempt in tries("markdown parser", 1500):
        text = visible(a_reply(attempt))
        if not NAMED_LANGUAGE.search(text):
            assert without_marks(parsed(text)) == without_marks(text), f"{attempt}\n{text!r}"


async def test_a_streamed_reply_ends_as_one_that_came_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the screen: cut anywhere, all of it is there while it streams; at the end it is the same to the last cell."""
    monkeypatch.setattr(markdown_stream, "INTERVAL_S", 0.005)
    app = Reply()
    async with app.run_test(size=SIZES) as pilot:
        for attempt in tries("markdown", FEW):
            text = visible(a_reply(attempt))
            if NAMED_LANGUAGE.search(text):
                continue
            source = sorted(WRITTEN.findall(text))
            await app.begin()
            for piece in in_pieces(attempt, text):
                app.body.feed(piece, sparing=False)
                if attempt.random() < 0.1:
                    await pilot.pause()
            growing = await app.drawn(pilot)
            streamed = await app.draw(pilot, text)
            await app.begin()
            at_once = await app.draw(pilot, text)
            message = f"{attempt}\n{text!r}\n" + "\n".join(at_once)
            assert streamed == at_once, message
            assert not NEVER_SHOWN.search("".join(growing + at_once)), message
            assert sorted(WRITTEN.findall("".join(growing))) == source, message + "\n\n" + "\n".join(growing)
            assert sorted(WRITTEN.findall("".join(at_once))) == source, message
