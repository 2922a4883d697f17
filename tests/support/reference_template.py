"""The slow, obvious twin of the engine's templates: a whole conversation, rendered and tokenized at once.

It renders as Hugging Face's transformers does (`apply_chat_template`), and tokenizes as llama.cpp does.
"""

import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache
from typing import Any, NoReturn

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatapp.engine.native.llama import Model
from chatapp.protocol.values import Message


class _Generation(Extension):
    tags = {"generation"}

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(message)


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)  # noqa: DTZ005 (as transformers has it)


def _tojson(value: object, ensure_ascii: bool = False, **options: Any) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, **options)


@cache
def _compiled(source: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception  # pyright: ignore[reportArgumentType]  (a template global)
    environment.globals["strftime_now"] = _strftime_now  # pyright: ignore[reportArgumentType]  (a template global)
    return environment.from_string(source)


class ReferenceTemplate:
    """One chat template. `typed`: its messages are [{"type": "text", "text": …}]."""

    def __init__(self, source: str, *, typed: bool = False, variables: Mapping[str, Any] | None = None) -> None:
        """`variables` are what the template reads beside the messages: bos_token, eos_token, enable_thinking …"""
        self._template = _compiled(source)
        self._typed = typed
        self._variables = {"tools": None, "documents": None, **(variables or {})}

    def render(self, system: str | None, messages: Sequence[Message], *, reply: bool) -> str:
        """The whole text; with the opening of a reply if `reply`. Raises what the template does."""
        rows = [("system", system)] if system else []
        rows += [(message.role, message.text) for message in messages]
        return self._template.render(
            self._variables,
            messages=[
                {"role": role, "content": [{"type": "text", "text": text}] if self._typed else text}
                for role, text in rows
            ],
            add_generation_prompt=reply,
        )


def reference_tokens(model: Model, text: str) -> list[int]:
    """All tokens of a whole text, with BOS in front where the vocabulary wants it and the text does not have it."""
    tokens = model.tokenize(text, special=True)
    return tokens if model.bos is None or tokens[:1] == [model.bos] else [model.bos, *tokens]


OPEN, CLOSE = "\ue000", "\ue001"
_HIDDEN = re.compile(f"{OPEN}([0-9]+){CLOSE}")


def hidden(text: str, spellings: Sequence[str]) -> str:
    """The text with a placeholder for each of these spellings, so that a rendering shows which are people's."""
    for number, spelling in enumerate(spellings):
        text = text.replace(spelling, f"{OPEN}{number}{CLOSE}")
    return text


def inert_tokens(model: Model, text: str, spellings: Sequence[str], control: Sequence[str]) -> list[int]:
    """The tokens of a rendering of `hidden` texts, where what is hidden is no special token; `control` are all those of
    the vocabulary.

    It is cut at the special tokens, as llama.cpp does, and what lies between is tokenized with special tokens off.
    """

    def shown(part: str) -> str:
        return _HIDDEN.sub(lambda match: spellings[int(match[1])], part)

    tokens: list[int] = []
    longest_first = sorted(control, key=len, reverse=True)
    for part in re.split("(" + "|".join(map(re.escape, longest_first)) + ")", text):
        if part:
            tokens += model.tokenize(shown(part), special=part in control)
    if model.bos is not None and tokens[:1] != [model.bos]:
        tokens.insert(0, model.bos)
    return tokens
