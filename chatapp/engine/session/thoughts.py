"""The thoughts of a model that thinks: told apart from its answer while it generates, and ended on request."""

import codecs
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from chatapp.engine.native.llama import Model
from chatapp.thinking.families import Family
from chatapp.thinking.parser import Kind, Parser, Part
from chatapp.thinking.recognise import family_of


@dataclass(frozen=True, slots=True)
class Thinking:
    """How a loaded model thinks."""

    family: Family
    specials: tuple[str, ...] = ()
    """The special tokens that its markers are made of."""
    ending: tuple[int, ...] = ()
    """The tokens that end a thought and begin the answer."""

    @classmethod
    def of(cls, model: Model, template: str) -> "Thinking | None":
        """None for a model that does not think. Its own template decides where the `template` in use has no markers."""
        own = model.chat_template()
        spellings = [] if own is not None else [*model.control_spellings(), *model.user_defined_spellings()]
        family = family_of(template) or family_of(own, spellings)
        if family is None:
            return None
        specials = (each for each in model.control_spellings() if any(each in marker for marker in family.markers))
        return cls(family, tuple(specials), tuple(model.tokenize(family.ending, special=True)))


class Said(NamedTuple):
    """Whole characters of a reply."""

    text: str
    reasoning: str


class ReplyText:
    """What the tokens of a reply say. Special tokens that are no markers say nothing."""

    def __init__(self, model: Model, thinking: Thinking | None, opening: Sequence[int]) -> None:
        """`opening` are the tokens that the template put before the reply."""
        self._model = model
        self._parser = Parser(
            thinking.family if thinking else None,
            opening=b"".join(self._spelled(token)[0] for token in opening).decode(errors="replace"),
            specials=thinking.specials if thinking else (),
        )
        decoder = codecs.getincrementaldecoder("utf-8")
        self._decoders = {Kind.ANSWER: decoder("replace"), Kind.REASONING: decoder("replace")}
        self._n_counted = self._n_held = 0
        """The tokens that are known to be reasoning, and those of which it is not known yet."""

    def _spelled(self, token: int) -> tuple[bytes, bool]:
        """The bytes of a token, and whether it is a special one."""
        piece = self._model.piece(token)
        return (piece, False) if piece else (self._model.spelling(token).encode(), True)

    def add(self, token: int) -> Said:
        """What is known to be said with the next token."""
        piece, special = self._spelled(token)
        answering = self._parser.answering
        parts = self._parser.feed(piece, special=special)
        self._n_held += 1
        if (answering and self._parser.answering) or any(part.kind is Kind.ANSWER for part in parts):
            self._n_held = 0
        elif parts and self._parser.has_thought:
            self._n_counted, self._n_held = self.reasoning_tokens, 0
        return self._said(parts)

    def end(self) -> Said:
        """What was held back until the end. The bytes of a character that was never completed are left out."""
        parts = self._parser.end()
        if self._parser.unclosed:
            self._n_counted, self._n_held = self.reasoning_tokens, 0
        return self._said(parts)

    def _said(self, parts: Sequence[Part]) -> Said:
        said = {
            kind: "".join(decoder.decode(part.data) for part in parts if part.kind is kind)
            for kind, decoder in self._decoders.items()
        }
        return Said(said[Kind.ANSWER], said[Kind.REASONING])

    @property
    def thinking(self) -> bool:
        """Whether the reply is in a thought."""
        return self._parser.thinking

    @property
    def unclosed(self) -> bool:
        """Whether the reply has ended in a thought."""
        return self._parser.unclosed

    @property
    def reasoning_tokens(self) -> int:
        """How many tokens were thoughts and their markers; what is not decided yet counts while it thinks."""
        return self._n_counted + (self._n_held if self._parser.has_thought else 0)

    @property
    def between_characters(self) -> bool:
        """False where the last token ended inside a character."""
        return not self._decoders[Kind.REASONING].getstate()[0]


class ThoughtsEnd:
    """Ends a thought once a budget is spent, or when the person wants the answer."""

    def __init__(self, thinking: Thinking | None, budget: int | None, answer_now: Callable[[], bool]) -> None:
        """`budget` is how many tokens of reasoning a reply may have; None is no limit."""
        self._ending = thinking.ending if thinking else ()
        self._budget, self._answer_now = budget, answer_now
        self._left: list[int] = []
        self._tried = False

    def next(self, reply: ReplyText) -> int | None:
        """The token that goes on with the ending, in place of one that the model would choose; else None."""
        if not self._left:
            self._tried = self._tried and reply.thinking  # an ending that the parser does not take is tried once
            if self._tried or not reply.thinking or not reply.between_characters or not self._due(reply):
                return None
            self._tried, self._left = True, [*self._ending]
        return self._left.pop(0) if self._left else None

    def _due(self, reply: ReplyText) -> bool:
        return (self._budget is not None and reply.reasoning_tokens >= self._budget) or self._answer_now()
