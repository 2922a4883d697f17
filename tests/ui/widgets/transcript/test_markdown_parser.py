r"""What is not clearly Markdown is shown as it was written: maths, paths, patterns, code, single marks."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from chatapp.text import visible
from chatapp.ui.widgets.transcript.markdown_parser import cells, safe_parser
from tests.support.ui.markdown_text import Reply, parsed, without_marks

AS_WRITTEN = [
    r"The set \(x\) and \(x_{P_1}\), or x_{P_1} + y_{Q_2} without them",
    r"$a_1 * b_2$ costs $5 and $6, not \$7; $HOME/$USER and $$",
    r"\[ E_{kin} = \frac{1}{2} m_1 * v_1^2 * 3 \] and $$ a*b*c $$",
    "2*3*4 and 2 * 3 * 4 and 2**3**4 and x*(y*z)*w",
    r"C:\Users\_me\*.txt and \\server\share_\*",
    "*.py, *.js, src/**/*.ts, **/*.c, a/*/b/*/c, *foo*/bar and text/*, */*",
    r"^(a|b)*\d+\.[^*]*$ and .*foo.* and (.*)(.*) and '*' or '*'",
    "snake_case_name, __init__, __main__.py, _a_b_, Name: ____ Age: _____",
    "/* one */ x /* two */ and int (*f)(int*, char*); f(*args, **kwargs)",
    "int *p = a*b and char* q",
    "price 5*, 6* and a *note",
    "<tag> <b>bold</b> <br/> List<String> <!-- no --> <http://x.example/y> <me@x.example>",
    "&amp; &lt; &nbsp; &#27; &#x202e; AT&T",
    "~/x~ and ~5 and ~~~ and a~~b~~c",
    "f[i](x) and [a]() and [b](<>) and [read](guides/x.html) and ![c](d)",
    "A note[^1] and [text][1]",
    "#include <stdio.h>",
    "#", "-", "*", "_", "**", "+", ">", "1.", "```", "$$", "\\", "\\[", "- 5", ">= 5", ">:(", "####### seven",
    ">>> print(1)", "* * * * * run", "- - - - - - - - - - - - - - deep", "#!/bin/sh", "[1]: http://x.example/y",
    "[INFO]: started", "[^1]: Smith", "http://x.example/%1b[31m?a=_b_&c=%41", "a \\* b \\_ c \\` d", "**x\\**",
    "**kwargs and 2**n", "3. three\n3. also", "1. one\n2.\n3. three", "1) one\n2) two\n7) seven", "1986. A great year.",
    "12\n+ 34\n= 46", "10\n- 5\n= 5", "x = a\n+ b", "a\n===\nb", "=\n-\n=", "one\\\ntwo", "a \\\\\nb \\\\",
    "\\[\n- x \\\\\n+ y\n# z\n> 1\n*a* _b_\n\\]", "$$\n1. a *b* c\n$$", "We get \\[\n- x\n\\]",
    "\\begin{align}\n- a &= b \\\\\n+ c\n\\end{align}", "\\(\n- a\n\\)",
]  # fmt: skip

SHOWN = [
    ("**bold** *it* ***both*** _em_ __two words__ ~~gone~~", "bold it both em two words gone"),
    ("**a *b* c** and ***d** e* and *f **g***", "a b c and d e and f g"),
    ("**yes**/**no**, (*see*), **Note:** \"*x*\", *'y'*, **it**'s", "yes/no, (see), Note: \"x\", 'y', it's"),
    ("**A**→**B**, **self**-**made**, **Name:**<br>**x**<br>", "A→B, self-made, Name:<br>x<br>"),
    ('**`x`** and **[y](https://x.example)** and **.env**: **"q"**', 'x and y and .env: "q"'),
    ("这是**重点**内容，*斜体*。", "这是重点内容，斜体。"),
    ("`a*b*c` and ``d`e``", "a*b*c and d`e"),
    ("see [this](https://x.example/y) and ![](http://x.example/z)", "see this and 🖼"),
    ("# One\n\n## Two ##\n\n### C #", "One Two C #"),
    ("> said\n> again", "▌ said ▌ again"),
    ("- a\n- b\n  - c", "• a • b ▪ c"),
    ("- 1\n- 2", "• 1 • 2"),
    ("- [ ] to do", "• [ ] to do"),
    ("text\n---\nmore", "text " + "─" * 96 + " more"),
    ("```py\nx = 1\n```", "x = 1"),
    ("```py title='x'\nx = 1\n```", "py title='x' x = 1"),
    ("~~~ said\nx\n~~~", "x"),
    ("one *two\nthree* four", "one *two three* four"),
    ("**one\ntwo**", "one two"),
    (r"\[ x \] **bold**", r"\[ x \] bold"),
    ("שלום\u200f \u200eabc\u061c می\u200cخواهم", "שלום\u200f \u200eabc\u061c می\u200cخواهم"),
    ("a\u202eb\u2066c", "a�b�c"),
]


async def test_each_example_is_on_the_screen() -> None:
    """What is not Markdown as it was written, what is Markdown without its marks."""
    app = Reply()
    async with app.run_test(size=(100, 40)) as pilot:
        for text, shown in [*((text, text) for text in AS_WRITTEN), *SHOWN]:
            lines = await app.draw(pilot, visible(text))
            assert " ".join(" ".join(lines).split()) == " ".join(shown.split()), text


async def test_no_cell_and_no_word_of_a_table_is_dropped() -> None:
    """More cells than columns are in the last one, backslashes stay, and a long word goes on in the next line."""
    table = "| a | b |\n|---|---|\n| 1 | 2 | 3 |\n| x\\|y | $|z|$ |\n| | " + "long" * 30 + " |\n"
    app = Reply()
    async with app.run_test(size=(60, 40)) as pilot:
        text = " ".join("".join(await app.draw(pilot, table)).split())
        for words in ("2 | 3", "x\\|y", "$|z|$"):
            assert words in text
        assert sum(map(text.count, "long")) == 4 * 30
        assert "…" not in text


@pytest.mark.parametrize(
    ("row", "columns", "expected"),
    [
        ("| a | b |", 2, ["a", "b"]),
        ("a | b", 2, ["a", "b"]),
        ("| a |", 2, ["a", ""]),
        ("| a | b | c", 2, ["a", "b | c"]),
        ("| a \\| b | c \\|", 2, ["a \\| b", "c \\|"]),
        ("| $P(A|B)$ | `a|b` |", 2, ["$P(A|B)$", "`a|b`"]),
        ("| \\(|x|\\) | b | c |", 2, ["\\(|x|\\)", "b | c"]),
        ("| a` | b` |", 2, ["a`", "b`"]),
        ("| a | b |", 1, ["a | b"]),
        ("|", 1, [""]),
    ],
)
def test_the_cells_of_a_row(row: str, columns: int, expected: list[str]) -> None:
    assert cells(row, columns) == expected


def test_a_link_is_only_what_leads_to_the_web() -> None:
    """And its address is not decoded on the screen."""
    text = "[a](https://x.example) [b](javascript:x) [c](file:///etc) <https://y.example> https://z.example/%1b"
    tokens = safe_parser().parse(text)[1].children or []
    assert [token.attrs["href"] for token in tokens if token.type == "link_open"] == [
        "https://x.example",
        "https://y.example",
        "https://z.example/%1b",
    ]
    assert "%1b" in parsed(text)


WORDS = st.sampled_from(
    ["a", "b1", "word ", " ", "\n", "\n\n", "*", "**", "_", "__", "~", "~~", "`", "\\", "\\(", "\\)", "\\[", "\\]",
     "$", "$$", "{", "}", "^", "&amp;", "<b>", "</b>", "<", "> ", "# ", "#", "- ", "+ ", "* ", "1. ", "2) ", "7", "|",
     "| a | b |\n", "|---|---|\n", "---\n", "===\n", "    ", "\t", "[", "](", ")", "](x)", "[^1]: ", "!", ".", ",", ":",
     '"', "'", "/", "=", "\\begin{x}", "\\end{x}", "\\\\\n", "é", "重", "🙂", "\u200f", "\u200d"]
)  # fmt: skip
TEXT = st.lists(st.one_of(WORDS, st.text(max_size=4)), max_size=40).map("".join).map(visible)


@given(TEXT)
def test_every_character_that_cannot_be_a_mark_is_shown_in_order(text: str) -> None:
    """Letters, digits, brackets, backslashes, dollars, everything; and nothing is added."""
    assume("```" not in text and "~~~" not in text)  # what follows may name a language, which is not shown
    assert without_marks(parsed(text)) == without_marks(text)


@given(st.lists(WORDS.filter(lambda word: word.strip(" ") and "\n" not in word and "|" not in word), max_size=30))
def test_marks_that_are_not_shown_had_a_partner(words: list[str]) -> None:
    """In a line of text: what is taken of each kind comes in twos, and never without marks on both sides of a text."""
    text = visible("x " + "".join(words))
    shown = parsed(text)
    for mark in "*_~`":
        assert (text.count(mark) - shown.count(mark)) % 2 == 0, (mark, shown)
    for mark in "#>+:-":
        assert text.count(mark) == shown.count(mark), (mark, shown)


@given(st.lists(st.sampled_from(["a", "_", "*", " ", "x.", "(", ")", "\\"]), max_size=12).map("".join))
def test_a_formula_is_untouched(inside: str) -> None:
    """Whatever is in it."""
    assume(not inside.endswith("\\") and "\\)" not in inside and "\\\\" not in inside)
    text = f"**see** \\({inside.strip() or 'x'}\\)"
    assert parsed(text) == text.replace("**see**", "see")
