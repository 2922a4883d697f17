"""The chat template: from a message to the tokens that it adds to the cache, exactly as the template writes them.

A model's own template is code from an untrusted file: it runs in a process of its own (`process`). People's text is
data (`inert`). The template is asked once for what it writes around messages (`frame`), and in each turn for what it
makes of the message's own text; what the cache already holds is never rendered or tokenized twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from chatapp.engine.template import frame
from chatapp.engine.template.frame import LAST, NEXT, REPLY, SYSTEM, USER, Frame, Row
from chatapp.engine.template.inert import Marks
from chatapp.engine.template.process import RefusalError
from chatapp.engine.template.text_tokens import TextTokens
from chatapp.errors import ModelError

Messages = list[dict[str, Any]]
_TEXT = "a"
"""Stands for text that ends with no special token."""


class Renderer(Protocol):
    """A compiled template: TemplateProcess, or SandboxedTemplate where the template is part of this program."""

    def render(self, messages: Messages, *, reply: bool, variables: dict[str, Any]) -> str:
        """The output for `messages`, with the opening of a reply if `reply`; `variables` are the other names that the
        template may read, the spellings of BOS and EOS among them.

        Raises ModelError where the template refuses the messages or fails, CancelledError where the user cancelled.
        """
        ...

    def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True, slots=True)
class RenderedPrompt:
    """The tokens that a message adds to the cache, in order."""

    closing: tuple[int, ...]
    """What was still missing after the reply before."""
    preamble: tuple[int, ...]
    """BOS and system prompt, where they are not in the cache."""
    user: tuple[int, ...]
    """The message with its markup, of which the first `user_opening` tokens are before the text."""
    user_opening: int
    head_end: tuple[int, ...]
    """The end of the message that is also that of the system prompt, where the template folds it in; else empty."""
    reply_opening: tuple[int, ...]

    @property
    def n_tokens(self) -> int:
        """All of them."""
        return sum(map(len, (self.closing, self.preamble, self.user, self.head_end, self.reply_opening)))


@dataclass(frozen=True, slots=True)
class RenderedTurn:
    """The tokens of an answered turn, in order; those of the markup before a text are counted."""

    user: tuple[int, ...]
    user_opening: int
    head_end: tuple[int, ...]
    reply: tuple[int, ...]
    reply_opening: int


@dataclass(frozen=True, slots=True)
class PastReply:
    """A reply that is there already: its text, and its tokens where the model made them itself."""

    text: str
    tokens: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class _Around:
    """What is rendered before and behind one message, to tell what the template makes of that message alone."""

    rows: tuple[Row, ...]
    role: str
    then: tuple[Row, ...]
    before: str
    behind: str


@dataclass(frozen=True, slots=True)
class _Known:
    """What is known of conversations with one system prompt: `pieces` are what marks stand for in the frame."""

    frame: Frame
    pieces: tuple[str, ...]
    begin: Callable[[str], list[Row]]
    """The messages up to the first one of a person, which has this text."""


class ChatTemplate:
    """One model's template, with its vocabulary."""

    def __init__(
        self,
        renderer: Renderer,
        *,
        tokenize: Callable[[str, bool], list[int]],
        spell: Callable[[int], bytes],
        spellings: Sequence[str],
        strips: Mapping[str, tuple[bool, bool]] = {},
        bos: str = "",
        eos: str = "",
        add_bos: int | None = None,
        variables: Mapping[str, Any] = {},
        identity: str = "",
        source: str = "",
    ) -> None:
        """For `tokenize`, `spell`, `spellings` and `strips` see TextTokens: `spellings` are those that people's text
        must not become; `add_bos` is the BOS token where the model expects one and the template may not write it;
        `variables` are names that the template reads, beyond those that every template does; `identity` tells this
        template, with them, from any other; `source` is its text.
        """
        self.identity, self.source = identity, source
        self._renderer = renderer
        self._words = TextTokens(tokenize, spell, spellings, strips)
        self._variables = {"bos_token": bos, "eos_token": eos, **variables}
        self._add_bos = add_bos
        self._typed = False
        self._moved = False
        self._frames: dict[str | None, _Known] = {}
        self._around: dict[str, _Around] = {}
        self.takes_system = True
        """False once `try_out` has found that the template refuses a system prompt, or omits it: it is then put before
        the first message, with an empty line between them.
        """

    # ------------------------------------------------------------------ rendering

    def _render(self, rows: Sequence[Row], reply: bool) -> str:
        """The template's output for (role, text) pairs whose text has marks already."""
        messages: Messages = [
            {"role": role, "content": [{"type": "text", "text": text}] if self._typed else text} for role, text in rows
        ]
        return self._renderer.render(messages, reply=reply, variables=self._variables)

    def whole(self, rows: Sequence[Row], *, reply: bool) -> str:
        """The template's own output for a whole conversation of (role, text) pairs, with BOS where the model expects it
        and the template omits it. Its text is taken as it is, with all that spells a special token.
        """
        text = self._render(rows, reply)
        bos = "" if self._add_bos is None else self.text([self._add_bos])
        return text if text.startswith(bos) else bos + text

    def close(self) -> None:
        """Free what the renderer holds."""
        self._renderer.close()

    def try_out(self) -> None:
        """Render plain conversations, and find out how the template takes a system prompt and whether it wants typed
        content. ModelError where it fails without a system prompt, or omits the messages.
        """
        try:
            self._frame(None)
        except ModelError as error:
            self._typed = True  # [{"type": "text", "text": …}], as templates of models that see want it
            try:
                self._frame(None)
            except ModelError:
                raise error from None
        self._try_system()

    def _try_system(self) -> None:
        first = [("system", SYSTEM), ("user", USER)]
        try:
            one = self._render(first, True)
            three = self._render([*first, ("assistant", REPLY), ("user", NEXT)], True)
        except ModelError:
            self.takes_system = False
            return
        self.takes_system = one.count(SYSTEM) == 1 and one.find(SYSTEM) < one.find(USER) and SYSTEM in three
        self._moved = three.rfind(SYSTEM) > three.find(USER)

    def _frame(self, system: str | None) -> tuple[Frame, Marks]:
        """What stands around the messages, and the marks for what the system prompt spells in it."""
        known = self._frames.get(system)
        if known is None:
            marks = Marks(self._words.specials)
            hidden = marks.hide(system) if system else ""

            def begin(text: str) -> list[Row]:
                if hidden and not self.takes_system:
                    return [("user", f"{hidden}\n\n{text}")]
                return [*([("system", hidden)] if hidden else []), ("user", text)]

            found = frame.learn(
                self._render, self._words.specials, begin, moved=bool(hidden) and (self._moved or not self.takes_system)
            )
            known = _Known(found, tuple(marks.pieces), begin)
            self._frames = {system: known}  # one conversation at a time
        return known.frame, Marks(self._words.specials, [*known.pieces])

    def _content(self, role: str, text: str, marks: Marks, *, past: bool = True) -> str:
        """What the template makes of a message's text, which may be trimmed, or have its thoughts removed.

        ModelError where it refuses the message, unless that is `past`: it was accepted then, and is taken as it is.
        """
        if not text:
            return ""  # some templates refuse an empty message
        hidden = marks.hide(text)
        around = self._around.get(role) or self._learn_around(role)
        return self._inside(
            [*around.rows, (role, hidden), *around.then], not around.then, around.before, around.behind, hidden, past
        )

    def _first_content(self, system: str | None, text: str, marks: Marks, *, past: bool = True) -> str:
        """The same of the first message, which a template that folds the system prompt in may trim together with it."""
        known = self._frames[system]
        if not known.frame.folded or not text:
            return self._content("user", text, marks, past=past)
        hidden, markup = marks.hide(text), known.frame.first
        behind = markup.user_closing + markup.reply_opening
        return self._inside(known.begin(hidden), True, known.frame.head, behind, hidden, past)

    def _inside(self, rows: Sequence[Row], reply: bool, before: str, behind: str, hidden: str, past: bool) -> str:
        """What is rendered between `before` and `behind`; `hidden` where that is not what stands around it."""
        try:
            rendered = self._render(rows, reply)
        except RefusalError:
            if past:
                return hidden
            raise
        n_around = len(before) + len(behind)
        if len(rendered) < n_around or not rendered.startswith(before) or not rendered.endswith(behind):
            return hidden  # the text changes what stands around it
        return rendered[len(before) : len(rendered) - len(behind)]

    def _learn_around(self, role: str) -> _Around:
        rows: tuple[Row, ...] = (("user", USER),)
        then: tuple[Row, ...] = (("user", LAST),)
        if role == "user":
            rows, then = (*rows, ("assistant", REPLY)), ()
        before, behind = frame.parts(self._render([*rows, (role, NEXT), *then], not then), [NEXT])
        self._around[role] = around = _Around(rows, role, then, before, behind)
        return around

    # ------------------------------------------------------------------ what the session uses

    def preamble(self, system: str | None, *, closed: bool = False) -> tuple[int, ...]:
        """The tokens before the first turn's own markup: BOS and the system prompt (the template's default where
        `system` is None); `closed`: with the end of a message that the system prompt is folded into.
        """
        found, marks = self._frame(system)
        head, behind = (found.closed_head, found.later) if closed else (found.head, found.first)
        return self._head([head, behind.opening + _TEXT], marks)[0]

    def _head(self, parts: Sequence[str], marks: Marks) -> list[tuple[int, ...]]:
        """The tokens of a conversation's beginning, with BOS first where the model expects it and the template omitted
        it.
        """
        tokens = self._words.of(parts, marks, apart=1)
        first = next((ids[0] for ids in tokens if ids), None)
        if self._add_bos is not None and first != self._add_bos:
            tokens[0] = (self._add_bos, *tokens[0])
        return tokens

    def head_is_closed(self, system: str | None, tokens: Sequence[int]) -> bool:
        """Whether `tokens`, a cache without any message, end the message that the system prompt is folded into."""
        found, marks = self._frame(system)
        end = self._words.of([found.first.user_closing], marks, after=_TEXT)[0]
        return found.folded and bool(end) and tuple(tokens[-len(end) :]) == end and len(tokens) > len(end)

    def generates_at_once(self, system: str | None) -> bool:
        """Whether nothing stands between a person's message, with its closing, and the reply."""
        return not self._frame(system)[0].later.reply_opening

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
        """What the user's new message `text` adds.

        `first`: no message stands between the system prompt and this one; `begun`: the system prompt is in the cache;
        `closing` is what is still missing after the reply before, and `after` how the text in the cache ends.
        """
        found, marks = self._frame(system)
        markup = found.of_turn(first=first)
        parts = [
            markup.opening,
            self._first_content(system, text, marks, past=False)
            if first
            else self._content("user", text, marks, past=False),
            markup.user_closing,
            markup.reply_opening,
        ]
        if begun:
            preamble = ()
            opening, said, ending, reply = self._words.of(parts, marks, after=closing or after)
        else:
            head = found.head if first else found.closed_head
            preamble, opening, said, ending, reply = self._head([head, *parts], marks)
        folded = first and found.folded
        return RenderedPrompt(
            closing=self.closing_tokens(system, closing, after),
            preamble=preamble,
            user=opening + said + (() if folded else ending),
            user_opening=len(opening),
            head_end=ending if folded else (),
            reply_opening=reply,
        )

    def turn(
        self, system: str | None, text: str, reply: PastReply, *, first: bool = False, closed: bool = True
    ) -> RenderedTurn:
        """An answered turn; `first`: right behind the head; `closed`: with the markup that follows where another
        message does.

        A reply whose tokens are known has those that it had when it was generated.
        """
        found, marks = self._frame(system)
        markup = found.of_turn(first=first)
        after = (found.head or None) if first else markup.closing or _TEXT
        said = self._first_content(system, text, marks) if first else self._content("user", text, marks)
        closing = self.closing(system, reply, first=first) if closed else ""
        if reply.tokens:
            parts = [markup.opening, said, markup.user_closing, markup.reply_opening]
            opening, message, ending, before = self._words.of(parts, marks, after=after)
            answer = reply.tokens + self.closing_tokens(system, closing, self.text(reply.tokens[-1:]))
        else:
            content = self._content("assistant", reply.text, marks)
            parts = [markup.opening, said, markup.past_user_closing, markup.past_reply_opening, content + closing]
            behind = found.later.opening + _TEXT if closed else ""
            opening, message, ending, before, answer, _ = self._words.of(
                [*parts, behind], marks, after=after, apart=len(parts)
            )
        folded = first and found.folded
        return RenderedTurn(
            user=opening + message + (() if folded else ending),
            user_opening=len(opening),
            head_end=ending if folded else (),
            reply=before + answer,
            reply_opening=len(before),
        )

    def closing(self, system: str | None, reply: PastReply, *, first: bool) -> str:
        """The markup that is still missing after a reply before another message can follow. The template is not asked
        once more: this may be needed just because it took too long.
        """
        found = self._frame(system)[0]
        markup = found.of_turn(first=first)
        if not reply.tokens:
            return markup.closing
        content = found.trimmed(reply.text)
        return frame.closing_after(markup, content, reply.text, self.text(reply.tokens), self._words.specials)

    def closing_tokens(self, system: str | None, closing: str, after: str | None) -> tuple[int, ...]:
        """The tokens of the markup behind a reply, in a text that ends with `after` without it."""
        found, marks = self._frame(system)
        return self._words.of([closing, found.later.opening + _TEXT], marks, after=after, apart=1)[0]

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, special ones spelled out."""
        return self._words.text(tokens)
