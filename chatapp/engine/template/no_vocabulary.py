"""A chat template without a model: each character is a token, and so is what looks like a special token."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from chatapp.engine.template.chat_template import ChatTemplate, Messages
from chatapp.engine.template.process import TemplateProcess
from chatapp.errors import ModelError

_FIRST = 0x110000
"""Special tokens are numbered above all characters."""
_LOOKS_SPECIAL = re.compile(r"<[|｜][^<>\s]+?[|｜]>|</?[A-Za-z_][\w.-]*>|\[/?[A-Z][A-Z_]*\]")
_SAMPLE: Messages = [{"role": role, "content": "a"} for role in ("user", "assistant", "user")]


class Characters:
    """The vocabulary: characters, and these special tokens."""

    def __init__(self, spellings: Sequence[str]) -> None:
        self._spellings = sorted({spelling for spelling in spellings if spelling}, key=len, reverse=True)
        self._pattern = re.compile(f"({'|'.join(map(re.escape, self._spellings))})") if self._spellings else None

    @property
    def spellings(self) -> Sequence[str]:
        """Of the special tokens, the longest first."""
        return self._spellings

    def tokenize(self, text: str, special: bool) -> list[int]:
        """See TextTokens."""
        if self._pattern is None or not special:
            return list(map(ord, text))
        tokens: list[int] = []
        for i, part in enumerate(self._pattern.split(text)):
            tokens += [_FIRST + self._spellings.index(part)] if i % 2 else map(ord, part)
        return tokens

    def spell(self, token: int) -> bytes:
        """See TextTokens."""
        return (self._spellings[token - _FIRST] if self.is_special(token) else chr(token)).encode()

    def is_special(self, token: int) -> bool:
        """Whether this is none of the characters."""
        return token >= _FIRST


def template_alone(
    process: TemplateProcess, source: str, *, bos: str, eos: str, variables: Mapping[str, Any]
) -> tuple[ChatTemplate, Characters]:
    """The template, tried out, and the vocabulary that it suggests. ModelError where it does not work."""
    written = ""
    try:
        names = {"bos_token": bos, "eos_token": eos, **variables}
        written = process.render(_SAMPLE, reply=True, variables=names)
    except ModelError:
        pass  # it may want typed content: then the source has to do
    vocabulary = Characters([bos, eos, *_LOOKS_SPECIAL.findall(source), *_LOOKS_SPECIAL.findall(written)])
    template = ChatTemplate(
        process,
        tokenize=vocabulary.tokenize,
        spell=vocabulary.spell,
        spellings=vocabulary.spellings,
        bos=bos,
        eos=eos,
        variables=variables,
    )
    template.try_out()
    process.accept()
    return template, vocabulary
