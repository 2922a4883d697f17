"""A llama.cpp without weights: tokens that are words, cells that hold positions, and replies from a script.

The engine's session runs on these as it runs on the real ones, and its cache, its policies, its branches and its
refusals are the program's own.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from chatapp.engine.native.abort import AbortFlag
from chatapp.engine.native.llama import BatchEntry, Context, Model
from chatapp.engine.native.sampler import Sampler
from chatapp.engine.template.chat_template import ChatTemplate, PastReply, RenderedPrompt, RenderedTurn
from chatapp.engine.template.fallbacks import CHATML
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.protocol.values import CacheSettings

END, MARK = 0, 1
"""The token that ends a reply, and the one that all markup consists of."""
PREAMBLE_TOK = 4
"""Tokens before the first message where there is no system prompt."""
SYSTEM_TOK = 3
"""Tokens of markup before a system prompt."""


def pieces(text: str) -> list[str]:
    """`text` in pieces of a word each; joined they are `text` again."""
    return re.findall(r"\s*\S+|\s+$", text)


class ScriptedModel(Model):
    """A vocabulary that grows with each new word, and is the same for every engine: they all have the one file."""

    _words: ClassVar = ["", "▸"]
    _ids: ClassVar = {word: token for token, word in enumerate(_words)}

    def __init__(self) -> None:
        self.path = Path(__file__)
        """Stands for the file of the weights, whose digest a saved cache has."""
        self.n_ctx_train, self.n_vocab = 8192, 49152
        self.n_swa = 0

    def tokenize(self, text: str, *, special: bool) -> list[int]:
        """A token a word."""
        return [self._id(word) for word in pieces(text)]

    def _id(self, word: str) -> int:
        if word not in self._ids:
            self._ids[word] = len(self._words)
            self._words.append(word)
        return self._ids[word]

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """See Model."""
        return self._words[token].encode()

    def spelling(self, token: int) -> str:
        """See Model."""
        return self._words[token]

    def is_special(self, token: int) -> bool:
        """See Model."""
        return token == MARK

    def is_end(self, token: int) -> bool:
        """See Model."""
        return token == END

    def close(self) -> None:
        """See Model."""


class ScriptedTemplate(ChatTemplate):
    """A token of markup before each message, before each reply, and after each reply that a message follows."""

    def __init__(self, model: ScriptedModel, refuse: Callable[[], None]) -> None:
        """`refuse` is called for each conversation that is opened, and may raise."""
        super().__init__(
            SandboxedTemplate(CHATML),
            tokenize=lambda text, _: model.tokenize(text, special=False),
            spell=model.piece,
            spellings=(),
        )
        self._model = model
        self._refuse = refuse

    def _said(self, text: str) -> tuple[int, ...]:
        return tuple(self._model.tokenize(text, special=False))

    def preamble(self, system: str | None, *, closed: bool = False) -> tuple[int, ...]:
        """See ChatTemplate. It is what an opening asks for first."""
        self._refuse()
        return self._head_of(system)

    def _head_of(self, system: str | None) -> tuple[int, ...]:
        return (MARK,) * SYSTEM_TOK + self._said(system) if system else (MARK,) * PREAMBLE_TOK

    def prompt(
        self,
        system: str | None,
        text: str,
        *,
        first: bool = False,
        begun: bool = True,
        closing: str = "",
        after: str | None = None,
    ) -> RenderedPrompt:
        """See ChatTemplate."""
        return RenderedPrompt(
            closing=(MARK,) if closing else (),
            preamble=() if begun else self._head_of(system),
            user=(MARK, *self._said(text)),
            user_opening=1,
            head_end=(),
            reply_opening=(MARK,),
        )

    def turn(
        self, system: str | None, text: str, reply: PastReply, *, first: bool = False, closed: bool = True
    ) -> RenderedTurn:
        """See ChatTemplate."""
        said = reply.tokens or self._said(reply.text)
        return RenderedTurn((MARK, *self._said(text)), 1, (), (MARK, *said, *((MARK,) if closed else ())), 1)

    def closing(self, system: str | None, reply: PastReply, *, first: bool) -> str:
        """See ChatTemplate."""
        return self._model.spelling(MARK)

    def closing_tokens(self, system: str | None, closing: str, after: str | None) -> tuple[int, ...]:
        """See ChatTemplate."""
        return (MARK,) if closing else ()

    def head_is_closed(self, system: str | None, tokens: Sequence[int]) -> bool:
        """See ChatTemplate."""
        return False


class ScriptedAbort(AbortFlag):
    """A decode takes no time, so that none is ended early."""

    def __init__(self) -> None:
        pass

    def request(self) -> None:
        """See AbortFlag."""

    def forget(self) -> None:
        """See AbortFlag."""

    def enable(self, enabled: bool) -> None:
        """See AbortFlag."""


class ScriptedContext(Context):
    """Cells that hold positions and nothing else."""

    def __init__(self, cache: CacheSettings, n_sequences: int) -> None:
        self.n_ctx = cache.n_ctx
        self.n_sequences = self.n_outputs = n_sequences
        self.sequence = 0
        self.abort = ScriptedAbort()
        self._held: list[list[int]] = [[] for _ in range(n_sequences)]

    def close(self) -> None:
        """See Context."""

    def decode(self, tokens: Sequence[int], pos: int, *, logits: str = "last") -> int:
        """See Context."""
        self._held[self.sequence] += range(pos, pos + len(tokens))
        return 0

    def decode_entries(self, entries: Sequence[BatchEntry]) -> int:
        """See Context."""
        for entry in entries:
            self._held[entry.sequence].append(entry.pos)
        return 0

    def use(self, sequence: int) -> None:
        """See Context."""
        self.sequence = sequence

    def share(self, other: int, p1: int) -> None:
        """See Context."""
        self._held[other] = [pos for pos in self._held[self.sequence] if pos < p1]

    def release(self, sequence: int) -> None:
        """See Context."""
        self._held[sequence] = []

    def synchronize(self) -> None:
        """See Context."""

    def remove(self, p0: int, p1: int) -> bool:
        """See Context."""
        held = self._held[self.sequence]
        self._held[self.sequence] = [pos for pos in held if pos < p0 or 0 <= p1 <= pos]
        return True

    def renumber(self, p0: int, delta: int) -> None:
        """See Context."""
        self._held[self.sequence] = [pos + delta if pos >= p0 else pos for pos in self._held[self.sequence]]

    def clear(self) -> None:
        """See Context."""
        self._held = [[] for _ in self._held]

    def positions_of(self, sequence: int) -> tuple[int, int] | None:
        """See Context."""
        held = self._held[sequence]
        return (held[0], held[-1]) if held else None

    def state(self, *, part: bool = False) -> bytes:
        """See Context."""
        return " ".join(map(str, self._held[self.sequence])).encode()

    def restore(self, state: bytes | memoryview, *, part: bool = False) -> bool:
        """See Context."""
        self._held[self.sequence] = [int(pos) for pos in bytes(state).split()]
        return True


class ScriptedSampler(Sampler):
    """Says a text word by word, and ends; `before` is called before each word."""

    def __init__(self, model: Model, text: str, before: Callable[[], None]) -> None:
        self._left = [*model.tokenize(text, special=False), END]
        self._before = before

    def sample(self, context: Context, output: int = -1) -> int:
        """See Sampler."""
        self._before()
        return self._left.pop(0)

    def close(self) -> None:
        """See Sampler."""
