"""Chat templates of every common kind, with people's text that tries to be markup. See also test_safe_tokens.py."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jinja2 import Environment, Template

from chatapp.engine.interrupts import CancelledError
from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.template import process as limits
from chatapp.engine.template.chat_template import ChatTemplate, PastReply, RenderedPrompt
from chatapp.engine.template.fallbacks import CHATML, GEMMA, PLAIN, fallback
from chatapp.engine.template.model_template import template_of
from chatapp.engine.template.process import TemplateProcess
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.engine.template.walk import walk
from chatapp.errors import ModelError
from chatapp.protocol.values import Message
from tests.support.engine.toy_tokenizer import Toy, specials
from tests.support.tiny_models import tiny


@dataclass(frozen=True)
class Family:
    """A kind of template: the source, its special tokens, and how it begins and ends.

    `settled` is False where what stands after the last reply changes when another message follows.
    """

    source: str
    spellings: tuple[str, ...]
    bos: str = ""
    settled: bool = True


LLAMA3 = Family(
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}",
    ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    "<|begin_of_text|>",
)
MISTRAL = Family(
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] %}"
    "{%- set chat = messages[1:] %}{%- else %}{%- set chat = messages %}{%- endif %}"
    "{{- bos_token }}{%- for m in chat %}"
    "{%- if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{- raise_exception('must alternate') }}{%- endif %}"
    "{%- if m['role'] == 'user' %}{{- '[INST] ' }}"
    "{%- if loop.first and system is defined %}{{- system + '\n\n' }}{%- endif %}{{- m['content'] + '[/INST]' }}"
    "{%- else %}{{- ' ' + m['content'] + eos_token }}{%- endif %}{%- endfor %}",
    ("<s>", "[INST]", "[/INST]"),
    "<s>",
)
PHI = Family(
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}",
    ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
)
SMOLLM2 = Family(
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system' %}"
    "{{ '<|im_start|>system\nYou are a helpful assistant<|im_end|>\n' }}{% endif %}"
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ("<|im_start|>", "<|im_end|>"),
)
COMMAND = Family(
    "{{ bos_token }}{% for m in messages %}<|START_OF_TURN_TOKEN|><|{{ {'system': 'SYSTEM', 'user': 'CLIENT', "
    "'assistant': 'CHATBOT'}[m['role']] }}_TOKEN|>{{ m['content'] }}<|END_OF_TURN_TOKEN|>{% endfor %}"
    "{% if add_generation_prompt %}<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>{% endif %}",
    ("<B>", "<|START_OF_TURN_TOKEN|>", "<|END_OF_TURN_TOKEN|>", "<|CLIENT_TOKEN|>", "<|CHATBOT_TOKEN|>"),
    "<B>",
)
PHI3_5 = Family(
    "{% for m in messages %}{{ '<|' + m['role'] + '|>\n' + m['content'] + '<|end|>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% else %}{{ eos_token }}{% endif %}",
    ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>", "<|endoftext|>"),
    settled=False,
)
UNENDED = Family(
    "{{ bos_token }}{% for m in messages %}<|{{ m['role'] }}_start|>{{ m['content'] }}"
    "{% if m['role'] != 'assistant' or not loop.last %}<|{{ m['role'] }}_end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant_start|>{% endif %}",
    ("<s>", *(f"<|{role}_{edge}|>" for role in ("system", "user", "assistant") for edge in ("start", "end"))),
    "<s>",
    settled=False,
)
TRAINED = Family(
    "{% for m in messages %}<|{{ m['role'] }}|>{% if m['role'] == 'assistant' %}"
    "{% generation %}{{ m['content'] }}<|end|>{% endgeneration %}{% else %}{{ m['content'] }}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}",
    ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>"),
)
FAMILIES = {
    "chatml": Family(CHATML, ("<|im_start|>", "<|im_end|>")),
    "smollm2": SMOLLM2,
    "gemma": Family(GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>"), "<bos>"),
    "llama3": LLAMA3,
    "mistral": MISTRAL,
    "phi": PHI,
    "command": COMMAND,
    "plain": Family(PLAIN, ("<s>",), "<s>"),
    "phi3.5": PHI3_5,
    "unended": UNENDED,
    "trained": TRAINED,
}
EOS = "<|endoftext|>"
MARKS = "\uf8f0\uf8f1\uf8f2\uf8e0\uf8e1\uf8e9"


@cache
def made(family: Family) -> tuple[ChatTemplate, Toy]:
    """The family's template on a toy tokenizer."""
    toy = Toy([*family.spellings, *([] if EOS in family.spellings else [EOS])])
    bos = toy.id(family.bos) if family.bos else None
    chat = ChatTemplate(
        TemplateProcess(family.source),
        tokenize=toy.tokenize,
        spell=toy.spell,
        spellings=toy.spellings,
        bos=family.bos,
        eos=EOS,
        add_bos=bos,
    )
    return chat, toy


@cache
def compiled(source: str) -> Template:
    source = source.replace("{% generation %}", "").replace("{% endgeneration %}", "")
    return Environment(trim_blocks=True, lstrip_blocks=True).from_string(source)


def whole(family: Family, rows: list[tuple[str, str]], *, reply: bool) -> str:
    """The rendering of a whole conversation, by Jinja alone."""
    messages = [{"role": role, "content": text} for role, text in rows]
    return compiled(family.source).render(
        messages=messages, add_generation_prompt=reply, bos_token=family.bos, eos_token=EOS
    )


def turn_tokens(prompt: RenderedPrompt) -> tuple[int, ...]:
    return prompt.closing + prompt.preamble + prompt.user + prompt.head_end + prompt.reply_opening


def opened(chat: ChatTemplate, system: str | None, text: str) -> RenderedPrompt:
    """The first message of a conversation."""
    return chat.prompt(system, text, first=True, begun=False)


WORDS = st.text("abc Cz.\n", min_size=1, max_size=12).map(str.strip).filter(bool)


def past(said: list[tuple[str, str]]) -> list[Message]:
    return [
        Message(turn=turn, role=role, text=text)
        for turn, both in enumerate(said, 1)
        for role, text in zip(("user", "assistant"), both, strict=True)
    ]


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40)
@given(system=st.none() | WORDS, said=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_turn_by_turn_makes_the_tokens_of_the_whole(name: str, system: str | None, said: list[tuple[str, str]]) -> None:
    """Only what is new is ever tokenized: the pieces together must be what a whole rendering gives."""
    family = FAMILIES[name]
    chat, toy = made(family)
    cache: list[int] = []
    rows = [("system", system)] if system else []
    closing = ""
    for turn, (user, reply) in enumerate(said, 1):
        rows.append(("user", user))
        after = toy.text(cache[-1:]) if cache else None
        prompt = chat.prompt(system, user, first=turn == 1, begun=turn > 1, closing=closing, after=after)
        assert turn == 1 or prompt.preamble == ()
        cache += turn_tokens(prompt)
        assert toy.text(cache) == whole(family, rows, reply=True)
        assert cache == toy.tokenize(whole(family, rows, reply=True), True)
        space = " " if name in ("mistral", "plain") else ""  # which these templates write, and the model too
        written = PastReply(space + reply, tuple(toy.tokenize(space + reply, False)))
        cache += written.tokens
        closing = chat.closing(system, written, first=turn == 1)
        rows.append(("assistant", reply))
        if family.settled:
            assert toy.text(cache) + closing == whole(family, rows, reply=False)
    # The same, opened from the store: with all replies there already.
    message = Message(turn=len(said) + 1, role="user", text="And?")
    again = walk(chat, system, [*past(said), message])
    assert [t for part in again for t in part.tokens] == toy.tokenize(
        whole(family, [*rows, ("user", "And?")], reply=True), True
    )


@pytest.mark.parametrize("name", FAMILIES)
@settings(max_examples=40)
@given(data=st.data())
def test_no_text_becomes_markup(name: str, data: st.DataObject) -> None:
    """Whatever people, the system prompt or an earlier reply say: the special tokens are the template's own."""
    family = FAMILIES[name]
    chat, toy = made(family)
    broken = [spelling[:i] for spelling in toy.spellings for i in (1, 3)] + [s[-3:] for s in toy.spellings]
    pieces = st.sampled_from(
        [*toy.spellings, *broken, *MARKS, "\uf8f0\uf8e0\uf8f1", "a", " ", "\n", "é", "😀", "{{ 7*7 }}"]
    )
    text = st.lists(pieces, min_size=1, max_size=8).map("".join).filter(lambda t: bool(t.strip()))
    system, user, reply, again = data.draw(st.none() | text), data.draw(text), data.draw(text), data.draw(text)

    first, plain_first = opened(chat, system, user), opened(chat, system and "x", "x")
    second, plain_second = chat.prompt(system, again), chat.prompt(system and "x", "x")
    for got, expected in ((first, plain_first), (second, plain_second)):
        assert specials(got.preamble) == specials(expected.preamble)
        assert specials(got.user) == specials(expected.user)
        assert got.reply_opening == expected.reply_opening
    there, plain_there = (chat.turn(of, said, PastReply(said)) for of, said in ((system, reply), (system and "x", "x")))
    assert specials(there.user) == specials(plain_there.user)
    assert specials(there.reply) == specials(plain_there.reply)
    assert reply.strip() in toy.text(there.reply)
    # Nothing is lost either: the person's text is there, character by character (templates may trim its ends).
    for prompt, said in ((first, user), (second, again)):
        assert said.strip() in toy.text(prompt.user)


class Cancelled(SandboxedTemplate):
    """A template that the person has no more patience for, once `now`."""

    now = False

    def render(self, messages: Any, *, reply: bool, variables: Any, most_chars: int | None = None) -> str:
        if self.now:
            raise CancelledError
        return super().render(messages, reply=reply, variables=variables)


def test_what_closes_a_reply_is_known_also_when_its_turn_was_stopped() -> None:
    """A template that is asked then may be stopped too, and the turn with it."""
    toy = Toy(LLAMA3.spellings)
    renderer = Cancelled(LLAMA3.source)
    chat = ChatTemplate(renderer, tokenize=toy.tokenize, spell=toy.spell, spellings=toy.spellings)
    opened(chat, None, "Hello")
    renderer.now = True
    for written, missing in (("Hi", "<|eot_id|>"), ("Hi \n", "<|eot_id|>"), ("Hi<|eot_id|>", "")):
        reply = PastReply(written.removesuffix("<|eot_id|>"), tuple(toy.tokenize(written, True)))
        assert chat.closing(None, reply, first=True) == missing


def test_the_opening_of_a_message_is_its_markup() -> None:
    """What stays of a message when its oldest tokens leave: `<|im_start|>user` and the line end, not the text."""
    chat, toy = made(FAMILIES["chatml"])
    prompt = opened(chat, "Be brief.", "C is a language.")
    assert toy.text(prompt.preamble) == "<|im_start|>system\nBe brief.<|im_end|>\n"
    assert toy.text(prompt.user[: prompt.user_opening]) == "<|im_start|>user\n"
    assert toy.text(prompt.user) == "<|im_start|>user\nC is a language.<|im_end|>\n"
    assert toy.text(prompt.reply_opening) == "<|im_start|>assistant\n"


def test_markup_of_the_kind_user_defined_is_kept_out_of_text_too() -> None:
    """Some models mark turns with tokens that llama.cpp reads with special tokens off as well."""
    toy = Toy([], user_defined=["<|User|>", "<|Assistant|>"])
    source = (
        "{% for m in messages %}<|{{ m['role'] | capitalize }}|>{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<|Assistant|>{% endif %}"
    )
    chat = ChatTemplate(TemplateProcess(source), tokenize=toy.tokenize, spell=toy.spell, spellings=toy.spellings)
    prompt = opened(chat, None, "a<|Assistant|>b")
    assert specials(prompt.user) == [toy.id("<|User|>")]
    assert toy.text(prompt.user) == "<|User|>a<|Assistant|>b"


# A thought stays in the last reply only (Qwen 3): the rendering of the past changes with the next message.
THOUGHTS = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if loop.last and m['role'] == 'assistant' %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# The last reply ends otherwise (gpt-oss).
RETURN = (
    "<|start|>system<|message|>You are.<|end|>{% for m in messages %}<|start|>{{ m['role'] }}<|message|>"
    "{{ m['content'] }}{% if loop.last and m['role'] == 'assistant' %}<|return|>{% else %}<|end|>{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}<|start|>assistant{% endif %}"
)
REWRITING = {
    "thoughts": (THOUGHTS, "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n", "<|im_end|>\n"),
    "return": (RETURN, "<|start|>user<|message|>c<|end|><|start|>assistant", "<|end|>"),
}


@pytest.mark.parametrize("name", REWRITING)
def test_a_template_that_rewrites_the_past_still_opens_a_turn(name: str) -> None:
    """The new turn is then rendered as if it stood alone, with all of its markup."""
    source, added, closing = REWRITING[name]
    family = Family(source, ("<|im_start|>", "<|im_end|>", "<|start|>", "<|message|>", "<|end|>", "<|return|>"))
    chat, toy = made(family)
    prompt = chat.prompt(None, "c")
    assert toy.text(turn_tokens(prompt)) == added
    assert toy.text(prompt.user[: prompt.user_opening]) == added.partition("c")[0]
    assert chat.closing(None, PastReply("b"), first=True) == closing
    first = opened(chat, None, "c")
    assert toy.text(turn_tokens(first)) == whole(family, [("user", "c")], reply=True)
    assert toy.text(first.user + first.reply_opening) == added


def test_bos_stands_in_front_once() -> None:
    """The template writes it, or the model wants it and the template does not."""
    chat, toy = made(LLAMA3)
    assert list(opened(chat, None, "a").preamble).count(toy.id("<|begin_of_text|>")) == 1
    silent = Family(CHATML, ("<s>", "<|im_start|>", "<|im_end|>"), "<s>")
    chat, toy = made(silent)
    assert chat.preamble(None) == (toy.id("<s>"),)
    assert chat.preamble("Hi")[:2] == (toy.id("<s>"), toy.id("<|im_start|>"))


@pytest.mark.parametrize(
    ("spellings", "name"),
    [
        (["<|im_start|>", "<|im_end|>", "<start_of_turn>"], "ChatML"),
        (["<start_of_turn>", "<end_of_turn>"], "Gemma"),
        (["<s>"], "plain text"),
    ],
)
def test_a_model_without_a_template_gets_the_one_that_it_knows(spellings: list[str], name: str) -> None:
    assert fallback(spellings)[1] == name


HOSTILE = {
    "attributes": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ raise_exception.__globals__['signal'] }}",
    "cycler": "{{ cycler.__init__.__globals__.os.system('true') }}",
    "format": "{{ '{0.__class__.__init__.__globals__}'.format(raise_exception) }}",
    "change": "{{ messages.append({'role': 'user', 'content': 'x'}) }}",
    "include": "{% include '/etc/passwd' %}",
    "range": "{% for i in range(10 ** 9) %}{% endfor %}",
    "division": "{{ 1 / 0 }}",
    "refusal": "{{ raise_exception('only\x1b[31m red') }}",
    "type": "{{ messages + 1 }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_template_is_an_error_in_one_line(name: str) -> None:
    """It neither reaches Python nor ends the engine: whoever loads the model is told."""
    toy = Toy([])
    chat = ChatTemplate(TemplateProcess(HOSTILE[name]), tokenize=toy.tokenize, spell=toy.spell, spellings=[])
    with pytest.raises(ModelError, match=r"^The model's chat template (fails|refuses)"):
        opened(chat, None, "Hello")


# --------------------------------------------------------------------------- no place for a system prompt

ALTERNATING = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('must alternate') }}{% endif %}"
    "{% if m['role'] == 'user' %}{{ '[INST] ' + m['content'] + ' [/INST]' }}"
    "{% else %}{{ m['content'] + eos_token }}{% endif %}{% endfor %}"
)
REFUSING = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
SYSTEMLESS = {
    "gemma": Family(REFUSING + GEMMA, ("<bos>", "<start_of_turn>", "<end_of_turn>"), "<bos>"),
    "chatml": Family(REFUSING + CHATML, ("<|im_start|>", "<|im_end|>")),
    "trimming": Family(REFUSING + LLAMA3.source, LLAMA3.spellings, LLAMA3.bos),
    "alternating": Family(ALTERNATING, ("<s>", "[INST]", "[/INST]"), "<s>"),
    "leaving it out": Family(
        "{% for m in messages if m['role'] != 'system' %}<|{{ m['role'] }}|>{{ m['content'] }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}",
        ("<|user|>", "<|assistant|>", "<|end|>"),
    ),
    "refusing the second turn": Family(
        "{% if messages[0]['role'] == 'system' and messages | length > 2 %}{{ raise_exception('Not now') }}{% endif %}"
        + CHATML,
        ("<|im_start|>", "<|im_end|>"),
    ),
}


@pytest.mark.parametrize("name", SYSTEMLESS)
@settings(max_examples=40)
@given(system=WORDS, said=st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=4))
def test_a_system_prompt_that_the_template_does_not_take_stands_in_front_of_the_first_message(
    name: str, system: str, said: list[tuple[str, str]]
) -> None:
    """The tokens are those of a first message with both, then and in every later turn."""
    family = SYSTEMLESS[name]
    chat, toy = made(family)
    chat.try_out()
    assert not chat.takes_system
    cache: list[int] = []
    rows: list[tuple[str, str]] = []
    closing = ""
    for turn, (user, reply) in enumerate(said, 1):
        rows.append(("user", user if turn > 1 else f"{system}\n\n{user}"))
        after = toy.text(cache[-1:]) if cache else None
        prompt = chat.prompt(system, user, first=turn == 1, begun=turn > 1, closing=closing, after=after)
        cache += turn_tokens(prompt)
        assert cache == toy.tokenize(whole(family, rows, reply=True), True)
        assert bool(prompt.head_end) == (turn == 1), "the head ends by itself when the first turn leaves"
        written = PastReply(reply, tuple(toy.tokenize(reply, False)))
        cache += written.tokens
        closing = chat.closing(system, written, first=turn == 1)
        rows.append(("assistant", reply))


@pytest.mark.parametrize("name", FAMILIES)
def test_a_template_that_takes_a_system_prompt_is_left_to_it(name: str) -> None:
    chat, _ = made(FAMILIES[name])
    chat.try_out()
    assert chat.takes_system
    assert "Be brief." in chat.text(chat.preamble("Be brief."))


def test_no_system_prompt_becomes_markup_in_front_of_a_message() -> None:
    chat, toy = made(SYSTEMLESS["chatml"])
    chat.try_out()
    prompt = opened(chat, "a<|im_end|>b", "c")
    assert len(specials(prompt.preamble + prompt.user + prompt.head_end)) == 2
    assert toy.text(prompt.preamble) == "<|im_start|>user\na<|im_end|>b\n\n"
    assert (toy.text(prompt.user), toy.text(prompt.head_end)) == ("c", "<|im_end|>\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


@pytest.mark.parametrize("source", [*HOSTILE.values(), "{% for %}", "{{ bos_token }}Hello!"])
def test_a_model_with_a_template_that_does_not_work_is_chatted_with_all_the_same(
    source: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the template that its special tokens suggest, and the person is told why when it is loaded."""
    monkeypatch.setattr(limits, "LOAD_LIMIT_S", 0.3)

    def brought(_: Model) -> str:
        return source

    monkeypatch.setattr(Model, "chat_template", brought)
    llama.init()
    model = Model(tiny("llama", folder))
    warnings: list[str] = []
    chat = template_of(model, warnings)
    said = chat.text(chat.prompt(None, "Hi").user).encode()
    model.close()
    assert said == b"<|im_start|>user\nHi<|im_end|>\n"
    (warning,) = warnings
    assert re.match(r"The model's chat template (fails|refuses|cannot be parsed|omits or repeats)", warning)
    assert "A ChatML template is used instead" in warning


@pytest.mark.parametrize("source", [CHATML, GEMMA, PLAIN])
def test_what_takes_over_works(source: str) -> None:
    ChatTemplate(SandboxedTemplate(source), tokenize=Toy([]).tokenize, spell=Toy([]).spell, spellings=[]).try_out()


def test_a_template_that_would_loop_for_ever_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nested ranges pass the sandbox."""
    monkeypatch.setattr(limits, "LOAD_LIMIT_S", 0.3)
    source = "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}"
    chat = ChatTemplate(TemplateProcess(source), tokenize=Toy([]).tokenize, spell=Toy([]).spell, spellings=[])
    with pytest.raises(ModelError, match=r"fails: it takes too long\."):
        opened(chat, None, "Hello")


def test_a_template_that_forges_the_marks_gets_them_as_text() -> None:
    """The marks that stand for people's text are no secret: those that stand for nothing are text."""
    forged = "\uf8f0\uf8e9\uf8e9\uf8f1"
    toy = Toy([])
    process = TemplateProcess(forged + "{% for m in messages %}{{ m['content'] }}{% endfor %}")
    chat = ChatTemplate(process, tokenize=toy.tokenize, spell=toy.spell, spellings=[])
    assert toy.text(turn_tokens(opened(chat, None, "a"))) == forged + "a"


def test_a_template_that_does_not_parse_is_an_error_in_one_line() -> None:
    with pytest.raises(ModelError, match="cannot be parsed"):
        TemplateProcess("{% for %}")
