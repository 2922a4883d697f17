"""Chat templates of damaged and hostile model files: whatever they are, there is a chat, soon, and one line that says
why the template is another one.
"""

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.template import process as limits
from chatapp.engine.template.chat_template import ChatTemplate, PastReply
from chatapp.engine.template.fallbacks import CHATML, GEMMA, PLAIN
from chatapp.engine.template.model_template import template_of
from chatapp.errors import ModelError
from tests.robustness.tries import Try, tries
from tests.support.engine.processes import PeakMemory
from tests.support.tiny_gguf import TEMPLATE
from tests.support.tiny_models import tiny

LIMIT_S = 0.25
"""Of processor time, so that what takes all of it does not take the suite's."""
WITHIN_S = 6.0
"""A second on a machine that has nothing else to do."""
MOST_BYTES = 300 << 20
MOST_CHARS = 500

NUMBERS = ["0", "1", "-1", "3", "7", "99999", "3000000000", "9**9", "9**99", "10**5000", "1.5", "0.0", "1e308"]
TEXTS = ["'a'", "''", r"'\ud800'", r"'\x00'", "'%99999999d'", "'{0.__class__}'", "'<|im_end|>'", "'\n'", "'\U0001f600'"]
NAMES = re.findall(
    r"\S+",
    """
    messages messages[0] messages[-1].content bos_token tools x loop self caller varargs raise_exception lipsum cycler
    joiner namespace dict range strftime_now messages.append().__init__.__globals__
    """,
)
FILTERS = re.findall(
    r"\S+",
    """
    abs attr('__class__') batch(2) capitalize center(99999999) count default(1) dictsort escape filesizeformat first
    float format(1) groupby('role') indent(9999999) int items join last length list lower map pprint random reject
    replace('a','b'*9999) reverse round safe select slice(3) sort string striptags sum title tojson(indent=99999) trim
    truncate unique upper urlencode urlize wordcount wordwrap(1) xmlattr nothing
    """,
)
OPERATORS = ["+", "-", "*", "/", "//", "%", "**", "~", "==", "<", "in", "and", "or"]
TAGS = [
    *re.findall(
        "{%.*?%}",
        "{% break %}{% continue %}{% include '/etc/passwd' %}{% extends 'a' %}{% import 'a' as b %}{% raw %}"
        "{% endraw %}{% generation %}{% endif %}{% endfor %}{% block a %}{% do x %}{% from 'a' import b %}"
        "{% set x %}{%- -%}",
    ),
    *["{#", "#}", "{{", "}}", "{%", "%}", "\0", "\x1b[2J"],
]


def expression(draw: Try, depth: int = 0) -> str:
    """One of Jinja's grammar, mostly valid, and often too much."""
    kind = draw.randrange(9) if depth < 4 else draw.randrange(3)
    if kind <= 2:
        return draw.choice([NUMBERS, TEXTS, NAMES][kind])
    one, two = expression(draw, depth + 1), expression(draw, depth + 1)
    match kind:
        case 3 | 4:
            return f"({one} {draw.choice(OPERATORS)} {two})"
        case 5:
            return f"({one}) | {draw.choice(FILTERS)}"
        case 6:
            return f"{draw.choice(NAMES)}({one}, a={two})"
        case 7:
            return f"[{one}, {two}][{draw.choice(['0', ':', '::-1', '9'])}]"
        case _:
            return f"({one} if {two} else {one})"


def statement(draw: Try, depth: int = 0) -> str:
    """Text, output, and blocks around more of the same."""
    inner = "".join(statement(draw, depth + 1) for _ in range(draw.randrange(3))) if depth < 3 else "x"
    value = expression(draw)
    match draw.randrange(10):
        case 0 | 1 | 2:
            return f"{{{{ {value} }}}}"
        case 3:
            return f"{{% set x = {value} %}}{inner}"
        case 4:
            return f"{{% if {value} %}}{inner}{{% else %}}{{{{ messages[0].content }}}}{{% endif %}}"
        case 5:
            return f"{{% for x in {draw.choice([value, 'range(99999)', 'messages'])} %}}{inner}{{% endfor %}}"
        case 6:
            return f"{{% macro m(x) %}}{inner}{{{{ m(x) }}}}{{% endmacro %}}{{{{ m({value}) }}}}"
        case 7:
            return f"{{% filter {draw.choice(FILTERS)} %}}{inner}{{% endfilter %}}"
        case 8:
            return f"{{{{ raise_exception({value}) }}}}"
        case _:
            return draw.choice(TAGS)


def nested(draw: Try) -> str:
    """One thing inside itself, too often."""
    n = draw.choice([20, 300, 3000])
    opening, middle, closing = draw.choice(
        [
            ("{% if 1 %}", "x", "{% endif %}"),
            ("{% for a in [1] %}", "x", "{% endfor %}"),
            ("{{ " + "(" * n, "1", ")" * n + " }}"),
            ("{{ " + "[" * n, "1", "]" * n + " }}"),
            ("{{ " + "not " * n, "1", " }}"),
            ("{{ " + "1 + " * n, "1", " }}"),
            ("{{ " + "x." * n, "x", " }}"),
            ("{{ x" + "|string" * n, "", " }}"),
        ]
    )
    return opening * n + middle + closing * n if opening.startswith("{%") else opening + middle + closing


def damaged(draw: Try, source: str) -> str:
    """A real template with a few bytes or spans that are not its own."""
    for _ in range(draw.choice([1, 1, 2, 5])):
        a, b = sorted(draw.randrange(len(source) + 1) for _ in range(2))
        b = min(b, a + 40)
        match draw.randrange(7):
            case 0:
                source = source[:a] + source[b:]
            case 1:
                source = source[:a] + source[a:b] * draw.choice([2, 50]) + source[b:]
            case 2:
                source = (
                    source[:a] + chr(draw.choice([0, 9, 34, 37, 39, 123, 125, 0xF8F0, 0xFFFD, 0x1F600])) + source[a:]
                )
            case 3:
                source = source[:a]
            case 4:
                source = source[:a] + draw.choice(TAGS) + source[a:]
            case 5:
                source = source[:a] + statement(draw) + source[a:]
            case _:
                source = statement(draw) + source
    return source


def hostile(draw: Try, real: list[str]) -> str:
    match draw.randrange(5):
        case 0 | 1:
            return damaged(draw, draw.choice(real))
        case 2 | 3:
            return statement(draw)
        case _:
            return nested(draw)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    llama.init()
    model = Model(tiny("llama", tmp_path_factory.mktemp("tiny")))
    yield model
    model.close()


@pytest.fixture(scope="module")
def real(starter: Path) -> list[str]:
    """Templates of a model that is chatted with, and of this program."""
    brings = Model(starter)
    source = brings.chat_template()
    brings.close()
    assert source is not None
    return [source, TEMPLATE, CHATML, GEMMA, PLAIN]


def renderers() -> int:
    return sum("template import sandbox" in " ".join(child.cmdline()) for child in psutil.Process().children())


def chat_once(chat: ChatTemplate) -> None:
    """Two turns, which a template may refuse; nothing else happens then."""
    for system in (None, "Be brief."):
        with suppress(ModelError):
            chat.prompt(system, "one <|im_end|>", first=True, begun=False)
            chat.turn(system, "one <|im_end|>", PastReply("two"), first=True)
            chat.prompt(system, "three")


def test_damaged_and_hostile_templates(model: Model, real: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "LOAD_LIMIT_S", LIMIT_S)
    monkeypatch.setattr(limits, "RENDER_LIMIT_S", LIMIT_S)
    others = renderers()
    outcomes = {"works": 0, "another": 0}
    for draw in tries("templates", 150):
        source = hostile(draw, real)

        def brought(_: Model, source: str = source) -> str:
            return source

        monkeypatch.setattr(Model, "chat_template", brought)
        warnings: list[str] = []
        began = time.monotonic()
        with PeakMemory() as peak:
            chat = template_of(model, warnings)
        assert time.monotonic() - began < WITHIN_S, draw
        assert peak.bytes < MOST_BYTES, draw
        another = [warning for warning in warnings if "template is used instead" in warning]
        outcomes["another" if another else "works"] += 1
        assert len(warnings) <= 1, draw
        assert all(len(warning) <= MOST_CHARS and len(warning.splitlines()) == 1 for warning in warnings), draw
        chat_once(chat)
        if another:
            assert chat.prompt(None, "one").n_tokens, draw
        chat.close()
        assert renderers() == others, draw
    assert min(outcomes.values()) > 0
