"""The chat template: from messages to tokens, with the template's markup and people's text kept apart.

The template is code from an untrusted file: it runs in Jinja's immutable sandbox. People's text is data: every
spelling of a special token inside it is swapped for a private-use mark before rendering, and those pieces alone are
tokenized with special tokens off after it. The template's own logic (trim, `in`, slices) still works on the text, and
no text can open or close a turn.

Only what a new turn adds is tokenized (`ChatTemplate.prompt`); what the cache already holds is never rendered twice.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NoReturn

from jinja2 import TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from chatapp.engine.protocol import Message
from chatapp.errors import ModelError

# A mark is OPEN, the index of the swapped piece in decimal digits of its own, CLOSE: three kinds of private-use
# characters, none of which is left in people's text.
_OPEN, _CLOSE = "\uf8f0", "\uf8f1"
_DIGITS = "".join(chr(0xF8E0 + i) for i in range(10))
_MARK = re.compile(f"{_OPEN}([{_DIGITS}]+){_CLOSE}")
_PRIVATE = f"[{_OPEN}{_CLOSE}{_DIGITS}]"

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
    """A template for a model that brings none, by the special tokens that it knows, and the template's name."""
    if "<|im_start|>" in spellings and "<|im_end|>" in spellings:
        return CHATML, "ChatML"
    if "<start_of_turn>" in spellings and "<end_of_turn>" in spellings:
        return GEMMA, "Gemma"
    return PLAIN, "plain text"


@dataclass(frozen=True, slots=True)
class Prompt:
    """The tokens that a turn adds to the cache, in order.

    `preamble` is what stands before the first turn (BOS, system prompt), empty for later turns; `user` is the person's
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
    """The pieces of people's text that were swapped out for one rendering."""

    pattern: re.Pattern[str]
    pieces: list[str] = field(default_factory=list[str])

    def hide(self, text: str) -> str:
        return self.pattern.sub(self._swap, text)

    def _swap(self, match: re.Match[str]) -> str:
        self.pieces.append(match[0])
        return _OPEN + "".join(_DIGITS[int(d)] for d in str(len(self.pieces) - 1)) + _CLOSE

    def piece(self, digits: str) -> str:
        return self.pieces[int("".join(str(_DIGITS.index(d)) for d in digits))]


class ChatTemplate:
    """One model's template, with its tokenizer."""

    def __init__(
        self,
        source: str,
        *,
        tokenize: Callable[[str, bool], list[int]],
        spellings: Sequence[str],
        bos: str = "",
        eos: str = "",
        add_bos: int | None = None,
    ) -> None:
        """`tokenize(text, special)` gives token ids; `spellings` are those of the special tokens; `add_bos` is the BOS
        token where the model wants one in front and the template may not write it. ModelError where the template does
        not parse.
        """
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _raise_exception  # pyright: ignore[reportArgumentType]  (a template global)
        environment.globals["strftime_now"] = _strftime_now  # pyright: ignore[reportArgumentType]  (a template global)
        try:
            self._template = environment.from_string(source)
        except TemplateError as error:
            raise ModelError(f"The model's chat template does not parse: {error}.", "Choose another model.") from error
        self._tokenize = tokenize
        self._tokens = {"bos_token": bos, "eos_token": eos}
        self._add_bos = add_bos
        alternatives = sorted((re.escape(s) for s in spellings if s), key=len, reverse=True)
        self._pattern = re.compile("|".join([_PRIVATE, *alternatives]))

    # ------------------------------------------------------------------ rendering

    def _render(self, messages: Sequence[tuple[str, str]], *, reply: bool) -> str:
        """The template's output for (role, text) pairs whose text is already safe."""
        rows = [{"role": role, "content": text} for role, text in messages]
        try:
            return self._template.render(messages=rows, add_generation_prompt=reply, tools=None, **self._tokens)
        except TemplateError as error:
            raise ModelError(f"The model's chat template refuses this conversation: {error}.") from error
        except Exception as error:  # whatever an untrusted template runs into
            raise ModelError(f"The model's chat template fails: {type(error).__name__}: {error}.") from error

    def _tokens_of(self, rendered: str, marks: _Marks) -> list[int]:
        """Tokens of a rendered text: markup with special tokens on, the marked pieces with special tokens off."""
        tokens: list[int] = []
        at = 0
        for match in _MARK.finditer(rendered):
            if match.start() > at:
                tokens += self._tokenize(rendered[at : match.start()], True)
            tokens += self._tokenize(marks.piece(match[1]), False)
            at = match.end()
        if at < len(rendered):
            tokens += self._tokenize(rendered[at:], True)
        return tokens

    def _begin(self, rendered: str, tokens: list[int]) -> list[int]:
        """`tokens` of a text's beginning, with BOS in front where the model wants it and the template left it out."""
        if self._add_bos is None or (tokens and tokens[0] == self._add_bos) or not rendered:
            return tokens if rendered else ([] if self._add_bos is None else [self._add_bos])
        return [self._add_bos, *tokens]

    # ------------------------------------------------------------------ what the session asks for

    def preamble(self, system: str | None) -> tuple[int, ...]:
        """The tokens before the first turn's own markup: BOS and the system prompt (the template's default where
        `system` is None).
        """
        marks = _Marks(self._pattern)
        text = self._preamble_text(system, marks)
        return tuple(self._begin(text, self._tokens_of(text, marks)))

    def _preamble_text(self, system: str | None, marks: _Marks) -> str:
        head = [("system", marks.hide(system))] if system else []
        one = self._render([*head, ("user", "A")], reply=False)
        two = self._render([*head, ("user", "B")], reply=False)
        common = _common_prefix(one, two)
        opening = self._user_opening_text()
        return common[: -len(opening)] if opening and common.endswith(opening) else common

    def _user_opening_text(self) -> str:
        """The markup before the text of a later user message."""
        before = self._render([("user", "A"), ("assistant", "B")], reply=False)
        after = self._render([("user", "A"), ("assistant", "B"), ("user", "C")], reply=False)
        added = after[len(before) :] if after.startswith(before) else ""
        return added.partition("C")[0]

    def prompt(self, system: str | None, earlier: Sequence[Message], text: str) -> Prompt:
        """What the person's new message `text` adds. `earlier` are the messages of the turn before, if there is one.

        Rendered are the system prompt, the turn before and the new message: their difference to the same without the
        new message is what is new. Where a template does not only append (it rewrites the turn before), the message is
        rendered as if it opened a conversation, without the preamble.
        """
        marks = _Marks(self._pattern)
        head = [("system", marks.hide(system))] if system else []
        past = [(message.role, marks.hide(message.text)) for message in earlier]
        said = ("user", marks.hide(text))
        with_reply = self._render([*head, *past, said], reply=True)
        without_reply = self._render([*head, *past, said], reply=False)
        preamble_text = self._preamble_text(system, marks)
        before = self._render([*head, *past], reply=False) if past else preamble_text
        if past and not with_reply.startswith(before):
            with_reply = self._render([*head, said], reply=True)
            without_reply = self._render([*head, said], reply=False)
            before = preamble_text
        user_end = len(_common_prefix(with_reply, without_reply))
        user_text = with_reply[len(before) : user_end]
        opening_text = self._user_opening_text()
        opening_text = opening_text if opening_text and user_text.startswith(opening_text) else ""
        opening = self._tokens_of(opening_text, marks)
        user = self._tokens_of(user_text, marks)
        n_opening = len(opening) if user[: len(opening)] == opening else 0
        return Prompt(
            preamble=() if past else self.preamble(system),
            user=tuple(user),
            user_opening=n_opening,
            reply_opening=tuple(self._tokens_of(with_reply[user_end:], marks)),
        )

    def closing(self, system: str | None) -> tuple[int, ...]:
        """The markup that the template writes behind a finished reply."""
        marks = _Marks(self._pattern)
        head = [("system", marks.hide(system))] if system else []
        rendered = self._render([*head, ("user", "A"), ("assistant", "B")], reply=False)
        opened = self._render([*head, ("user", "A")], reply=True)
        tail = rendered[len(opened) :] if rendered.startswith(opened) else rendered.rpartition("B")[1:][1]
        return tuple(self._tokens_of(tail.lstrip().removeprefix("B"), marks))

    def reply(self, text: str) -> tuple[int, ...]:
        """A stored reply as tokens, special tokens off: what the model once said is data too."""
        return tuple(self._tokenize(text, False))


def _common_prefix(a: str, b: str) -> str:
    if a.startswith(b) or b.startswith(a):
        return min(a, b, key=len)
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


def _raise_exception(message: str) -> NoReturn:
    raise TemplateError(str(message))


def _strftime_now(pattern: str) -> str:
    return datetime.now().astimezone().strftime(pattern)
