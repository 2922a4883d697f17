"""The chat template: from messages to tokens, with the template's markup and people's text kept apart.

A model's own template is code from an untrusted file: it runs in a process of its own (`process`). People's
text is data: before rendering, every spelling of a special token in it is replaced by a private-use mark; afterwards
only those pieces are tokenized with special tokens off. The template's own logic (trim, `in`, slices) still works on
the text, and no text can open or close a turn.

Only what a new turn adds is tokenized (`ChatTemplate.prompt`); what the cache already holds is never rendered twice.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from chatapp.errors import ModelError
from chatapp.protocol.values import Message

# A mark is OPEN, the index of the swapped piece in decimal digits of its own, CLOSE: three kinds of private-use
# characters, which are removed from people's text.
_OPEN, _CLOSE = "\uf8f0", "\uf8f1"
_DIGITS = "".join(chr(0xF8E0 + i) for i in range(10))
_MARK = re.compile(f"{_OPEN}([{_DIGITS}]{{1,9}}){_CLOSE}")
_PROBE = "\uf8f2"
"""Text to search a rendering for: no template writes it."""
_PRIVATE = f"[{_OPEN}{_CLOSE}{_PROBE}{_DIGITS}]"

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}{{ '<start_of_turn>' + ('model' if m['role'] == 'assistant' else 'user') + "
    "'\n' + m['content'] + '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)
PLAIN = (
    "{{ bos_token }}{% for m in messages %}{{ m['role'] | capitalize + ': ' + m['content'] + '\n\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}"
)


def fallback(spellings: Sequence[str]) -> tuple[str, str]:
    """A template for a model that has none that works, chosen by its special tokens, and the template's name."""
    if "<|im_start|>" in spellings and "<|im_end|>" in spellings:
        return CHATML, "ChatML"
    if "<start_of_turn>" in spellings and "<end_of_turn>" in spellings:
        return GEMMA, "Gemma"
    return PLAIN, "plain text"


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """The tokens that a turn adds to the cache, in order.

    `preamble` is what precedes the first turn (BOS, system prompt), empty for later turns; `user` is the user's
    message with its markup, of which the first `user_opening` tokens are markup before the text; `reply_opening` is the
    markup that opens the reply.
    """

    preamble: tuple[int, ...]
    user: tuple[int, ...]
    user_opening: int
    reply_opening: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        """All of them."""
        return len(self.preamble) + len(self.user) + len(self.reply_opening)


@dataclass
class _Marks:
    """The pieces of people's text that marks stand for in one rendering."""

    pattern: re.Pattern[str]
    pieces: list[str] = field(default_factory=list[str])

    def hide(self, text: str) -> str:
        return self.pattern.sub(self._swap, text)

    def _swap(self, match: re.Match[str]) -> str:
        self.pieces.append(match[0])
        return _OPEN + "".join(_DIGITS[int(d)] for d in str(len(self.pieces) - 1)) + _CLOSE

    def piece(self, mark: re.Match[str]) -> str:
        """What the mark stands for; the mark itself where the template made it up."""
        index = int("".join(str(_DIGITS.index(digit)) for digit in mark[1]))
        return self.pieces[index] if index < len(self.pieces) else mark[0]


class Renderer(Protocol):
    """A compiled template: TemplateProcess, or SandboxedTemplate where the template is part of this program."""

    def render(self, messages: list[dict[str, str]], *, reply: bool, tokens: dict[str, str]) -> str:
        """The output for `messages`, with the opening of a reply if `reply`; `tokens` are the spellings of BOS and EOS.

        Raises ModelError where the template refuses the messages or fails, CancelledError where the user cancelled.
        """
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


class ChatTemplate:
    """One model's template, with its tokenizer."""

    def __init__(
        self,
        renderer: Renderer,
        *,
        tokenize: Callable[[str, bool], list[int]],
        spellings: Sequence[str],
        bos: str = "",
        eos: str = "",
        add_bos: int | None = None,
    ) -> None:
        """`tokenize(text, special)` gives token ids; `spellings` are those of the tokens that people's text must not
        become; `add_bos` is the BOS token where the model expects one and the template may not write it.
        """
        self._renderer = renderer
        self._tokenize = tokenize
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._add_bos = add_bos
        alternatives = sorted((re.escape(s) for s in spellings if s), key=len, reverse=True)
        self._pattern = re.compile("|".join([_PRIVATE, *alternatives]))
        self._longest = max((len(spelling) for spelling in spellings), default=0)
        self.takes_system = True
        """False once `try_out` has found that the template refuses a system prompt, or omits it: it is then put before
        the first message, with an empty line between them.
        """

    # ------------------------------------------------------------------ rendering

    def _render(self, messages: Sequence[tuple[str, str]], *, reply: bool) -> str:
        """The template's output for (role, text) pairs whose text has marks already."""
        rows = [{"role": role, "content": text} for role, text in messages]
        return self._renderer.render(rows, reply=reply, tokens=self._tokens)

    def close(self) -> None:
        """Free what the renderer holds."""
        self._renderer.close()

    def _tokens_of(self, rendered: str, marks: _Marks) -> list[int]:
        """Tokens of a rendered text: markup with special tokens on, the marked pieces with special tokens off."""
        tokens: list[int] = []
        at = 0
        for match in _MARK.finditer(rendered):
            if match.start() > at:
                tokens += self._tokenize(rendered[at : match.start()], True)
            piece = marks.piece(match)
            # In two parts: with special tokens off llama.cpp still parses "user defined" ones.
            tokens += self._tokenize(piece[:1], False)
            if len(piece) > 1:
                tokens += self._tokenize(piece[1:], False)
            at = match.end()
        if at < len(rendered):
            tokens += self._tokenize(rendered[at:], True)
        return tokens

    def _begin(self, rendered: str, tokens: list[int]) -> list[int]:
        """`tokens` of a text's beginning, with BOS first where the model expects it and the template omitted it."""
        if self._add_bos is None or (tokens and tokens[0] == self._add_bos) or not rendered:
            return tokens if rendered else ([] if self._add_bos is None else [self._add_bos])
        return [self._add_bos, *tokens]

    def try_out(self) -> None:
        """Render a plain conversation of two turns, and check whether it accepts a system prompt. ModelError where it
        fails without one, or omits the messages.
        """
        said = Message(turn=1, role="user", text="A"), Message(turn=1, role="assistant", text="B")
        self.prompt(None, said, "A")
        self.closing(None)
        if _PROBE not in self._render([("user", _PROBE)], reply=True):
            raise ModelError("The model's chat template omits the messages.")
        self.takes_system = self._shows_system()

    def _shows_system(self) -> bool:
        """Whether a system prompt is in the rendering of a first turn, and in that of a second one."""
        first = [("system", _PROBE), ("user", "A")]
        try:
            texts = [self._render(rows, reply=True) for rows in (first, [*first, ("assistant", "B"), ("user", "A")])]
        except ModelError:
            return False
        return all(_PROBE in text for text in texts)

    def _head(self, system: str | None, marks: _Marks) -> list[tuple[str, str]]:
        """What precedes the first message."""
        return [("system", marks.hide(system))] if system and self.takes_system else []

    # ------------------------------------------------------------------ what the session uses

    def preamble(self, system: str | None) -> tuple[int, ...]:
        """The tokens before the first turn's own markup: BOS and the system prompt (the template's default where
        `system` is None). Without the system prompt where the template takes none.
        """
        marks = _Marks(self._pattern)
        text = self._preamble_text(self._head(system, marks))
        return tuple(self._begin(text, self._tokens_of(text, marks)))

    def _preamble_text(self, head: list[tuple[str, str]]) -> str:
        one = self._render([*head, ("user", "A")], reply=False)
        two = self._render([*head, ("user", "B")], reply=False)
        common = _common_prefix(one, two)
        opening = self._between(head)[1]
        return common[: -len(opening)] if opening and common.endswith(opening) else common

    def _between(self, head: list[tuple[str, str]]) -> tuple[str, str]:
        """The markup after a reply that another message follows, and the markup before that message's text."""
        transcript = [*head, ("user", "A"), ("assistant", _PROBE)]
        last = self._render(transcript, reply=False).rpartition(_PROBE)[2]
        parts = self._render([*transcript, ("user", _PROBE)], reply=False).split(_PROBE)
        if len(parts) != 3:
            return last, ""
        between = parts[1]
        if last and between.startswith(last):
            return last, between[len(last) :]
        # The last reply ends differently, or not at all: the opening is also what the first message begins with.
        before, _, end = self._render([("user", _PROBE)], reply=False).partition(_PROBE)
        common = len(_common_prefix(between[::-1], before[::-1]))
        opening = between[self._whole_tokens(between, len(between) - common, later=True) :]
        opening = opening[self._whole_tokens(opening, len(_common_prefix(opening, end))) :]
        return between[: len(between) - len(opening)], opening

    def _whole_tokens(self, text: str, at: int, *, later: bool = False) -> int:
        """`at`, or the edge of the special token that a cut there would break."""
        near = self._pattern.finditer(text, max(0, at - self._longest), at + self._longest)
        inside = (match for match in near if match.start() < at < match.end())
        return next(((match.end() if later else match.start()) for match in inside), at)

    def prompt(
        self, system: str | None, earlier: Sequence[Message], text: str, *, first: bool = False
    ) -> RenderedPrompt:
        """What the user's new message `text` adds. `earlier` are the messages of the turn before, if there is one;
        `first` says that the message opens the conversation, so that the system prompt precedes it where the
        template accepts none.

        Rendered are the system prompt, the turn before and the new message: their difference to the same without the
        new message is what is new. Where a template does not only append (it rewrites the turn before), the message is
        rendered as if it opened a conversation, without the preamble.
        """
        if first and system and not self.takes_system:
            text = f"{system}\n\n{text}"
        marks = _Marks(self._pattern)
        head = self._head(system, marks)
        past = [(message.role, marks.hide(message.text)) for message in earlier]
        said = ("user", marks.hide(text))
        with_reply = self._render([*head, *past, said], reply=True)
        without_reply = self._render([*head, *past, said], reply=False)
        preamble_text = self._preamble_text(head)
        before = self._render([*head, *past], reply=False) if past else preamble_text
        if past and not with_reply.startswith(before):
            with_reply = self._render([*head, said], reply=True)
            without_reply = self._render([*head, said], reply=False)
            before = preamble_text
        user_end = self._whole_tokens(with_reply, len(_common_prefix(with_reply, without_reply)))
        closing_text, opening_text = self._between(head)
        user_text = with_reply[len(before) : user_end]
        if past and not before.endswith(closing_text):
            user_text = user_text.removeprefix(closing_text)  # the session decoded it after the reply
        opening_text = opening_text if opening_text and user_text.startswith(opening_text) else ""
        opening = self._tokens_of(opening_text, marks)
        user = self._tokens_of(user_text, marks)
        same = (a == b for a, b in zip(opening, user, strict=False))  # white space may join the text's first token
        n_opening = next((i for i, equal in enumerate(same) if not equal), min(len(opening), len(user)))
        return RenderedPrompt(
            preamble=() if past else self.preamble(system),
            user=tuple(user),
            user_opening=n_opening,
            reply_opening=tuple(self._tokens_of(with_reply[user_end:], marks)),
        )

    def closing(self, system: str | None) -> tuple[int, ...]:
        """The markup that the template writes after a finished reply."""
        marks = _Marks(self._pattern)
        head = self._head(system, marks)
        return tuple(self._tokens_of(self._between(head)[0], marks))

    def reply(self, text: str) -> tuple[int, ...]:
        """A stored reply as tokens, special tokens off: what the model wrote is data too."""
        return tuple(self._tokenize(text, False))


def _common_prefix(a: str, b: str) -> str:
    if a.startswith(b) or b.startswith(a):
        return min(a, b, key=len)
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]
