"""What a chat template writes around messages, learned from renderings of probes: texts that can be found again.

A template is a program, but all that it writes around the messages of a chat is the same in each turn but the first.
So it is asked once, with probes for messages, and each turn is put together from the frame that is found and the
message's text. That costs the same in a conversation of any length, and gives what a rendering of the whole
conversation would give (tests/engine/template/test_real_templates.py).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from chatapp.engine.template.inert import probe
from chatapp.errors import ModelError

Row = tuple[str, str]
"""A role and a text."""
Render = Callable[[Sequence[Row], bool], str]
"""A rendering of these messages; with the opening of a reply, if True."""

USER, REPLY, NEXT, NEXT_REPLY, LAST = map(probe, range(5))
SYSTEM = probe(9)


@dataclass(frozen=True, slots=True)
class Markup:
    """What stands around the messages of one turn."""

    opening: str
    """Before the person's text."""
    user_closing: str
    """Behind it, where a reply is to be generated; `reply_opening` follows."""
    reply_opening: str
    past_user_closing: str
    """Behind it, where the reply is there already; `past_reply_opening` follows."""
    past_reply_opening: str
    closing: str
    """Behind the reply, where another message follows."""


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around the messages of a conversation with one system prompt. `head` is what precedes the first
    message: BOS, system prompt.

    `folded`: the template puts the system prompt into the first message, whose opening is part of the head then. When
    that turn is evicted, its `user_closing` has to stay with the head.
    """

    head: str
    folded: bool
    first: Markup
    later: Markup
    trims_start: bool
    """Whether the white space that a reply begins with is dropped."""
    trims_end: bool

    def trimmed(self, reply: str) -> str:
        """A reply without the white space that the template drops."""
        reply = reply.lstrip() if self.trims_start else reply
        return reply.rstrip() if self.trims_end else reply

    def of_turn(self, *, first: bool) -> Markup:
        """The markup of the first turn, or of any other."""
        return self.first if first else self.later

    @property
    def closed_head(self) -> str:
        """The head where the first message is not behind it."""
        return self.head + (self.first.user_closing if self.folded else "")


def parts(text: str, probes: Sequence[str]) -> list[str]:
    """The text around the probes, which must be there once each, in this order. ModelError where they are not."""
    found: list[str] = []
    for each in probes:
        before, _, text = text.partition(each)
        if not _ or each in text:
            raise ModelError("The model's chat template omits or repeats the messages.")
        found.append(before)
    if any(each in part for part in (*found, text) for each in probes):
        raise ModelError("The model's chat template does not keep the messages in order.")
    return [*found, text]


def learn(render: Render, specials: re.Pattern[str], system: Callable[[str], list[Row]], *, moved: bool) -> Frame:
    """The frame of conversations with one system prompt. `system(text)` are the messages up to the first one of a
    person, which has this text. `moved`: the template would put the system prompt into the last message each time.

    Raises ModelError where the template refuses, or omits messages.
    """
    one = system(USER)
    head, with_reply = parts(render(one, True), [USER])
    without_reply = parts(render(one, False), [USER])[1]
    begin = [("user", USER)] if moved else one
    chat = [*begin, ("assistant", REPLY), ("user", NEXT), ("assistant", NEXT_REPLY), ("user", LAST)]
    probes = [USER, REPLY, NEXT, NEXT_REPLY, LAST]
    _, past, between, later_past, later_between, later_with_reply = parts(render(chat, True), probes)
    later_without_reply = parts(render(chat, False), probes)[-1]
    last = _after_last_reply(render(chat[:-1], False), probes[:-1])
    bare = parts(render([("user", USER)], False), [USER])
    spaced = [*begin, ("assistant", f" {REPLY}\n"), ("user", NEXT)]
    _, past_spaced, between_spaced, _ = parts(render(spaced, True), probes[:3])
    closing, opening = _parted(later_between, last, bare, specials)
    first_closing = between[: -len(opening)] if opening and between.endswith(opening) else closing
    head, first_opening, folded = _head(head, opening, specials)
    return Frame(
        head,
        folded,
        _markup(first_opening, with_reply, without_reply, past, first_closing, specials),
        _markup(opening, later_with_reply, later_without_reply, later_past, closing, specials),
        trims_start=past_spaced == past,
        trims_end=between_spaced == between,
    )


def _after_last_reply(text: str, probes: Sequence[str]) -> str:
    """What follows a reply with no message behind it; nothing where the template omits such a reply."""
    try:
        return parts(text, probes)[-1]
    except ModelError:
        return ""


def _markup(
    opening: str, with_reply: str, without_reply: str, past: str, closing: str, specials: re.Pattern[str]
) -> Markup:
    end = whole_tokens(with_reply, len(common_prefix(with_reply, without_reply)), specials)
    user_closing = with_reply[:end]
    past_end = end if past.startswith(user_closing) else 0
    return Markup(opening, user_closing, with_reply[end:], past[:past_end], past[past_end:], closing)


def _parted(between: str, last: str, bare: Sequence[str], specials: re.Pattern[str]) -> tuple[str, str]:
    """The markup between a reply and the next message, in what closes the one and what opens the other. `last` is what
    follows a reply with no message behind it; `bare` what stands around the only message of a conversation.
    """
    if last and between.startswith(last):
        cut = len(last)
    else:  # the last reply ends differently, or not at all: the opening is also what the first message begins with
        common = len(common_prefix(between[::-1], bare[0][::-1]))
        cut = whole_tokens(between, len(between) - common, specials, later=True)
        opening = between[cut:]
        cut += whole_tokens(opening, len(common_prefix(opening, bare[1])), specials)
    cut = _behind_white_space(between, cut, specials)
    return between[:cut], between[cut:]


def _behind_white_space(text: str, at: int, specials: re.Pattern[str]) -> int:
    """`at`, or the end of the white space that a cut there would break: line ends, and what lies between two of them,
    are one token. Blanks behind the last one belong to the word that follows, unless that is a special token.
    """
    end = len(text) - len(text[at:].lstrip())
    if specials.match(text, end):
        return end
    return max(at, text.rfind("\n", at, end) + 1)


def _head(before: str, opening: str, specials: re.Pattern[str]) -> tuple[str, str, bool]:
    """What precedes the first message's text: the head, the opening of that message, and whether it has none of its
    own because the head is part of the message.
    """
    if not opening or before.endswith(opening):
        return before[: len(before) - len(opening)], opening, False
    common = len(common_prefix(before[::-1], opening[::-1]))
    at = whole_tokens(before, len(before) - common, specials, later=True)
    own = before[at:]
    if own.strip() and 2 * len(own.strip()) >= len(opening.strip()):
        return before[:at], own, False
    return before, "", True


def whole_tokens(text: str, at: int, specials: re.Pattern[str], *, later: bool = False) -> int:
    """`at`, or the edge of the special token that a cut there would break.

    >>> end = re.compile("<.end.>")
    >>> whole_tokens("a<|end|>", 4, end), whole_tokens("a<|end|>", 4, end, later=True)
    (1, 8)
    """
    inside = (match for match in specials.finditer(text) if match.start() < at < match.end())
    return next(((match.end() if later else match.start()) for match in inside), at)


def common_prefix(a: str, b: str) -> str:
    """What both begin with.

    >>> common_prefix("<|end|>", "<|eot|>")
    '<|e'
    """
    length = next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    return a[:length]


def closing_after(markup: Markup, content: str, text: str, written: str, specials: re.Pattern[str]) -> str:
    """The markup that is still missing after a reply as the model wrote it, special tokens spelled out.

    `content` is what the template makes of the reply's `text`, which is `written` without its special tokens. A model
    may have written part of the closing itself, and a template may trim the white space that the reply ends with.

    >>> closing_after(Markup("", "", "", "", "<r>", "</r><end>"), "Yes", "Yes", "Yes</r>", re.compile("</?[a-z]+>"))
    '<end>'
    """
    whole = markup.past_user_closing + markup.past_reply_opening + content + markup.closing
    there = markup.user_closing + markup.reply_opening + written
    if whole.startswith(there):
        return whole[len(there) :]
    closing = markup.closing
    for match in reversed(list(specials.finditer(closing))):
        if written.endswith(closing[: match.end()]):
            return closing[match.end() :]
    trimmed = text[len(text.rstrip()) :] if content.rstrip() == content else ""
    return closing[len(common_prefix(trimmed, closing)) :]
