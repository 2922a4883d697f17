"""The example file: every setting with its default and its documentation, generated from the models."""

import ast
import inspect
import json
import textwrap
from collections.abc import Iterator

from chatapp.config.models import Config, Section

_HEAD = """\
# The settings of swachat. Every line shows the default, so your file needs only what you want to change.
# `swachat config init` writes a copy to the right place; `swachat config check` validates it.
# Flags override environment variables (SWACHAT_CACHE_CTX=8192), which override the file, which overrides the defaults.
"""


def example_yaml() -> str:
    """The text of config.example.yaml; `swachat config init` writes it."""
    return "\n".join((_HEAD, *_lines(Config(), "")))


def documentation(section: type[Section]) -> dict[str, str]:
    """The text under each field.

    Read from the source here: pydantic could do it too, but would do it at every start.
    """
    (body,) = ast.parse(textwrap.dedent(inspect.getsource(section))).body
    assert isinstance(body, ast.ClassDef)
    found: dict[str, str] = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                found[name] = " ".join(words.split())
            case _:
                pass
    return found


def _lines(section: Section, indent: str) -> Iterator[str]:
    texts = documentation(type(section))
    for name in type(section).model_fields:
        value = getattr(section, name)
        inner = isinstance(value, Section)
        words = " ".join((type(value).__doc__ or "").split()) if inner else texts[name]
        yield from textwrap.wrap(words, 118, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
        if inner:
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            # JSON's scalars, and its empty mapping, are YAML's.
            yield f"{indent}{name}: {json.dumps(value, ensure_ascii=False)}"
        if not indent:
            yield ""
