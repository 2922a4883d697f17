"""Real chat templates and vocabularies, which `make setup-dev` takes from llama.cpp's source archive."""

import struct
import sys
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.engine.template.process import RefusalError
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.errors import ModelError

ARCHIVE = Path(sys.prefix) / "llama.cpp"
_STRING, _CONTROL = 8, 3
_NUMBER_BYTES = {4: 4, 5: 4, 6: 4}
"""Of GGUF's types u32, i32 and f32."""


def template_files() -> list[Path]:
    """All chat templates of the archive. FileNotFoundError where it was not fetched."""
    files = sorted((ARCHIVE / "templates").glob("*.jinja"))
    if not files:
        raise FileNotFoundError(f"{ARCHIVE} has no chat templates. Run `make setup-dev`, which fetches them.")
    return files


class InThisProcess(SandboxedTemplate):
    """A template with the errors of TemplateProcess, and without its limits and its start."""

    def render(
        self, messages: list[dict[str, Any]], *, reply: bool, variables: dict[str, Any], most_chars: int | None = None
    ) -> str:
        try:
            return super().render(messages, reply=reply, variables=variables, most_chars=most_chars)
        except TemplateError as error:
            raise RefusalError(f"refuses: {error}") from error
        except Exception as error:
            raise ModelError(f"fails: {error}") from error


_compiled = cache(InThisProcess)


class Vocabulary:
    """A real vocabulary, without weights."""

    def __init__(self, name: str, file: Path) -> None:
        """`name` is what is told of it in a failing test."""
        llama.init()
        self.name, self.model = name, Model(file, vocab_only=True)

    @cached_property
    def control(self) -> list[str]:
        return self.model.control_spellings()

    @cached_property
    def user_defined(self) -> list[str]:
        return [spelling for spelling in self.model.user_defined_spellings() if spelling.strip()]

    @cached_property
    def strips(self) -> dict[str, tuple[bool, bool]]:
        return self.model.stripping_spellings()

    @cached_property
    def named(self) -> dict[str, str]:
        """What templates call its BOS and EOS."""
        return {"bos_token": self.model.named_token("bos"), "eos_token": self.model.named_token("eos")}

    @cached_property
    def exact(self) -> bool:
        """Whether the tokens of a text, spelled out, are that text: no space is put in front, none is stripped."""
        return not self.strips and self.text(self.model.tokenize("a", special=False)) == "a"

    def text(self, tokens: Iterable[int]) -> str:
        """The tokens spelled out, special ones too."""
        return b"".join(self.model.piece(token, special=True) for token in tokens).decode(errors="replace")

    def template(self, source: str, **variables: object) -> ChatTemplate:
        """The template with this vocabulary, tried out, as `template_of` makes it, but in this process."""
        made = ChatTemplate(
            _compiled(source),
            tokenize=lambda text, special: self.model.tokenize(text, special=special),
            spell=lambda token: self.model.piece(token, special=True),
            spellings=self.control + [spelling for spelling in self.user_defined if spelling in source],
            strips=self.strips,
            bos=self.named["bos_token"],
            eos=self.named["eos_token"],
            add_bos=self.model.bos,
            variables=variables,
        )
        made.try_out()
        return made


@cache
def vocabulary(name: str) -> Vocabulary:
    """One of the archive, as it is; freed with the process."""
    return Vocabulary(name, ARCHIVE / "vocabularies" / f"ggml-vocab-{name}.gguf")


def with_control_tokens(name: str, spellings: Sequence[str], file: Path) -> Vocabulary:
    """The vocabulary of this name with more control tokens, those of other models, written to `file`."""
    data = bytearray((ARCHIVE / "vocabularies" / f"ggml-vocab-{name}.gguf").read_bytes())
    strings = b"".join(struct.pack("<Q", len(text.encode())) + text.encode() for text in spellings)
    _extend(data, "tokenizer.ggml.tokens", len(spellings), strings)
    _extend(data, "tokenizer.ggml.token_type", len(spellings), struct.pack("<i", _CONTROL) * len(spellings))
    _extend(data, "tokenizer.ggml.scores", len(spellings), struct.pack("<f", 0) * len(spellings))
    file.write_bytes(data)
    return Vocabulary(f"{name} and {len(spellings)} control tokens", file)


def _extend(data: bytearray, key: str, n_more: int, more: bytes) -> None:
    """Add elements to an array of a GGUF file, if it has that one. Faster by far than reading and writing it."""
    at = data.find(struct.pack("<Q", len(key)) + key.encode())
    if at < 0:
        return
    at += 8 + len(key) + 4
    kind, count = struct.unpack_from("<IQ", data, at)
    end = at + 12
    if kind == _STRING:
        for _ in range(count):
            end += 8 + struct.unpack_from("<Q", data, end)[0]
    else:
        end += _NUMBER_BYTES[kind] * count
    data[end:end] = more
    struct.pack_into("<Q", data, at + 4, count + n_more)
