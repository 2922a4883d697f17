"""Every kind of template that was once rendered wrongly, as the shortest one that shows it.

The vocabulary is SentencePiece, which puts a space behind special tokens; the text and the tokens of a conversation are
those of one plain rendering, unless a test says what they are.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.template.chat_template import ChatTemplate, PastReply
from chatapp.engine.template.model_template import template_of
from chatapp.engine.template.walk import walk
from chatapp.protocol.events import TurnDone
from chatapp.protocol.values import CacheRequest, Message
from tests.support.chats import chat
from tests.support.engine.tiny_session import tiny_session
from tests.support.llama_archive import Vocabulary
from tests.support.reference_template import ReferenceTemplate, hidden, inert_tokens, reference_tokens
from tests.support.tiny_models import tiny
from tests.support.tiny_vocabulary import write_vocabulary

MARKS = ("<user>", "<bot>", "<system>", "<end>", "<think>", "</think>", "<answer>", "</answer>")
OPEN = {"user": "<user>", "assistant": "<bot>"}
REFUSAL = "{% if messages[0].role == 'system' %}{{ raise_exception('no system prompt') }}{% endif %}"
REPLY_OPENING = "{% if add_generation_prompt %}<bot>{% endif %}"
PLAIN = (
    "{% for m in messages %}<{{ 'bot' if m.role == 'assistant' else m.role }}>{{ m.content }}<end>{% endfor %}"
    + REPLY_OPENING
)
DROPPING = "{% for m in messages if m.role != 'system' %}" + PLAIN.partition("%}")[2]
# As Llama 2 has it: the words of the markup are text, BOS and EOS are at each turn, and there is no reply opening.
LLAMA2 = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set chat = messages[1:] %}"
    "{% else %}{% set chat = messages %}{% endif %}"
    "{% for m in chat %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' }}"
    "{% if loop.first and system is defined %}{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}"
    "{{ m.content | trim + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content | trim + ' ' + eos_token }}{% endif %}{% endfor %}"
)
FOLDED = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set first = messages[0].content + '\n\n' %}"
    "{% set chat = messages[1:] %}{% else %}{% set first = '' %}{% set chat = messages %}{% endif %}"
    "{% for m in chat %}{% if m.role == 'user' %}<user>{{ first if loop.first else '' }}{{ m.content | trim }}<end>"
    "{% else %}<bot>{{ m.content | trim }}<end>{% endif %}{% endfor %}" + REPLY_OPENING
)
MOVED = (
    "{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set chat = messages[1:] %}"
    "{% else %}{% set chat = messages %}{% endif %}"
    "{% for m in chat %}{% if m.role == 'user' %}<user>"
    "{% if loop.last and system is defined %}{{ system + '\n\n' }}{% endif %}{{ m.content }}<end>"
    "{% else %}<bot>{{ m.content }}<end>{% endif %}{% endfor %}" + REPLY_OPENING
)
TWO_TURNS = chat("Be brief.", "What is the sea?", "Water, and salt.", "And the sky?")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vocabulary]:
    made = Vocabulary("tiny", write_vocabulary(tmp_path_factory.mktemp("vocabulary") / "tiny.gguf", MARKS))
    yield made
    made.model.close()


@dataclass(frozen=True)
class Case:
    """A template in both hands: the engine's, and the plain rendering's."""

    words: Vocabulary
    template: ChatTemplate
    reference: ReferenceTemplate

    def cached(self, system: str | None, messages: list[Message]) -> list[int]:
        return [token for part in walk(self.template, system, messages) for token in part.tokens]

    def whole(self, system: str | None, messages: list[Message]) -> list[int]:
        """The tokens of the plain rendering, with the opening of the next reply."""
        return reference_tokens(self.words.model, self.reference.render(system, messages, reply=True))

    def agrees(self, system: str | None, messages: list[Message]) -> bool:
        return self.cached(system, messages) == self.whole(system, messages)

    def live(self, system: str | None, messages: list[Message], written: list[str]) -> str:
        """The text in the cache when the model writes its replies in this way, special tokens spelled out."""
        cache: list[int] = []
        closing = ""
        for turn, asked in enumerate(messages[::2]):
            after = self.words.text(cache[-1:]) if cache else None
            first = turn == 0
            prompt = self.template.prompt(
                system, asked.text, first=first, begun=not first, closing=closing, after=after
            )
            cache += prompt.closing + prompt.preamble + prompt.user + prompt.head_end + prompt.reply_opening
            if turn == len(written):
                break
            tokens = self.words.model.tokenize(written[turn], special=True)
            cache += tokens
            said = b"".join(map(self.words.model.piece, tokens)).decode()
            closing = self.template.closing(system, PastReply(said, tuple(tokens)), first=first)
        return self.words.text(cache)


def case(words: Vocabulary, source: str, *, typed: bool = False, **variables: object) -> Case:
    reference = ReferenceTemplate(source, typed=typed, variables={**words.named, **variables})
    return Case(words, words.template(source, **variables), reference)


def in_front(system: str | None, messages: list[Message]) -> tuple[None, list[Message]]:
    """The same conversation, with the system prompt in front of the first message."""
    return None, [Message(turn=1, role="user", text=f"{system}\n\n{messages[0].text}"), *messages[1:]]


# --------------------------------------------------------------------------- the system prompt


@pytest.mark.parametrize("source", [REFUSAL + PLAIN, DROPPING], ids=["refused", "dropped"])
def test_a_system_prompt_that_is_refused_or_dropped_stands_before_the_first_message(
    words: Vocabulary, source: str
) -> None:
    tried = case(words, source)
    assert not tried.template.takes_system
    assert tried.cached(*TWO_TURNS) == tried.whole(*in_front(*TWO_TURNS))


def test_it_is_told_once_that_a_system_prompt_is_not_taken(words: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings = told(words, REFUSAL + PLAIN, monkeypatch)
    assert len(warnings) == 1
    assert "does not accept a system prompt" in warnings[0]


def test_a_system_prompt_in_the_first_message_is_a_closed_piece_of_its_own(words: Vocabulary) -> None:
    """Whichever turns are behind it: the first, a later one, or none."""
    tried = case(words, FOLDED)
    assert tried.agrees(*TWO_TURNS)
    system, messages = TWO_TURNS
    closed = words.text(tried.template.preamble(system, closed=True))
    assert closed == "<s><user> Be brief.\n\n<end>"
    later = tried.template.turn(system, messages[0].text, PastReply(messages[1].text), first=False)
    assert words.text(later.user) == "<user> What is the sea?<end>"
    assert later.head_end == ()
    first = tried.template.turn(system, messages[0].text, PastReply(messages[1].text), first=True)
    assert words.text(first.head_end) == "<end>", "it ends the first message, and stays with the head"


def test_a_system_prompt_that_moves_into_the_last_message_is_there_once(words: Vocabulary) -> None:
    """Where it was put first: what is in the cache does not move."""
    tried = case(words, MOVED)
    assert tried.cached(*TWO_TURNS) == tried.whole(*in_front(*TWO_TURNS))
    assert words.text(tried.cached(*TWO_TURNS)).count("Be brief.") == 1


# --------------------------------------------------------------------------- pieces


def test_words_of_markup_have_the_tokens_of_the_whole(words: Vocabulary) -> None:
    """No space comes in between where a SentencePiece vocabulary puts one only in front of all."""
    tried = case(words, LLAMA2)
    assert tried.agrees(*TWO_TURNS)
    assert tried.agrees(None, chat(None, "Hi")[1])


@pytest.mark.parametrize(
    ("blanks", "opening", "closing"),
    [("    \n    ", "<{{ m.role }}>", "<end>\n\n    \n    "), (" \n ", "{{ m.role }}: ", "<end>\n\n \n")],
    ids=["before a special token", "before a word"],
)
def test_white_space_between_messages_is_not_cut(words: Vocabulary, blanks: str, opening: str, closing: str) -> None:
    """A run of it is one token in some vocabularies, where only a blank before a word is that word's."""
    source = f"{{% for m in messages %}}{{{{ {blanks!r} }}}}{opening}{{{{ m.content }}}}<end>\n\n{{% endfor %}}"
    assert words.template(source).closing(None, PastReply("Yes."), first=False) == closing


def test_a_reopened_reply_has_the_tokens_that_it_had_live(words: Vocabulary) -> None:
    tried = case(words, LLAMA2)
    system, messages = TWO_TURNS
    live = tried.template.prompt(system, messages[0].text, first=True, begun=False)
    both = (*live.preamble, *live.user, *live.head_end, *live.reply_opening)
    reply = tuple(tried.cached(system, messages[:2])[len(both) :])
    past = tried.template.turn(system, messages[0].text, PastReply(messages[1].text, reply[:-1]), first=True)
    again = (*tried.template.preamble(system), *past.user, *past.head_end, *past.reply)
    assert again == (*both, *reply) == tuple(tried.cached(system, messages[:2]))


def test_what_people_spell_stays_text_without_a_space(words: Vocabulary) -> None:
    tried = case(words, LLAMA2)
    spelled = ["<s>", "</s>", "<end>"]
    system, messages = chat("a<s>b", "x<s>y </s> <end>", "the <s> word", "So<s>?")
    disguised = [Message(turn=each.turn, role=each.role, text=hidden(each.text, spelled)) for each in messages]
    text = tried.reference.render(hidden(str(system), spelled), disguised, reply=True)
    assert tried.cached(system, messages) == inert_tokens(words.model, text, spelled, words.control)


def test_a_first_message_is_trimmed_with_the_system_prompt_in_front_of_it(words: Vocabulary) -> None:
    """The template trims both together: white space between them stays, and any other message loses its own."""
    tried = case(words, LLAMA2)
    assert tried.agrees(*chat("  Hi \n", " Yes. ", "  Why? "))


# --------------------------------------------------------------------------- BOS


def test_bos_that_the_template_writes_and_the_vocabulary_wants_is_there_once(words: Vocabulary) -> None:
    for source in ("{{ bos_token }}" + PLAIN, PLAIN):
        tried = case(words, source)
        assert tried.cached(*TWO_TURNS).count(1) == 1
        assert tried.agrees(*TWO_TURNS)


def test_bos_at_each_message_is_there_once_at_each(words: Vocabulary) -> None:
    tried = case(words, PLAIN.replace("%}<{{", "%}{{ bos_token }}<{{", 1))
    assert tried.cached(*TWO_TURNS).count(1) == 4
    assert tried.agrees(*TWO_TURNS)


# --------------------------------------------------------------------------- the end of a reply

ANSWER = PLAIN.replace(
    "{{ m.content }}",
    "{% if m.role == 'assistant' %}<answer>{{ m.content }}</answer>{% else %}{{ m.content }}{% endif %}",
)


@pytest.mark.parametrize("end", ["", "</answer>"])
def test_markup_that_the_model_wrote_itself_is_not_written_again(words: Vocabulary, end: str) -> None:
    """It writes the markup in front of its answer, and what closes it, or not."""
    tried = case(words, ANSWER)
    live = tried.live(*TWO_TURNS, [f"<answer>Water, and salt.{end}"])
    assert live == words.text(tried.whole(*TWO_TURNS))


@pytest.mark.parametrize("written", ["Water, and salt.", "Water, and salt. ", "  Water, and salt. "])
def test_a_space_before_the_end_token_is_there_once(words: Vocabulary, written: str) -> None:
    """The model wrote it, or the template does; also where the reply does not begin as the template would have it."""
    tried = case(words, LLAMA2)
    live = tried.live(*TWO_TURNS, [written])
    assert live.count("salt. </s><s>") == 1
    assert written.startswith("  ") or live == words.text(tried.whole(*TWO_TURNS))


@pytest.mark.parametrize("end", ["", "</answer>"])
def test_a_thought_that_the_template_takes_out_is_kept_in_the_cache(words: Vocabulary, end: str) -> None:
    """It is closed once, whatever the model wrote of that; opened from the store, it is as the template has it."""
    source = ANSWER.replace("<answer>{{ m.content", "<answer>{{ m.content.split('</think>')[-1]").replace(
        REPLY_OPENING, REPLY_OPENING.replace("<bot>", "<bot><think>")
    )
    tried = case(words, source)
    live = tried.live(*TWO_TURNS, [f"well</think><answer>Water, and salt.{end}"])
    assert "<bot><think> well</think><answer> Water, and salt.</answer><end><user>" in live
    assert tried.agrees(*TWO_TURNS)


# --------------------------------------------------------------------------- what some templates refuse

NO_EMPTY = (
    "{% for m in messages %}{% if not m.content | trim %}{{ raise_exception('empty') }}{% endif %}"
    + PLAIN.partition("%}")[2]
)


@pytest.mark.parametrize("nothing", ["", " \n"], ids=["empty", "white space"])
def test_an_empty_reply_that_the_template_refuses_does_not_end_the_conversation(
    words: Vocabulary, nothing: str
) -> None:
    """It has the markup of any other; and so has an empty message that is there already."""
    said = chat("Be brief.", "Hi", nothing, nothing, "What?", "So?", nothing, "Well?")
    assert case(words, NO_EMPTY).cached(*said) == case(words, PLAIN).whole(*said)


OMITTING = (
    "{% for m in messages %}{% if m.role == 'user' %}<user>{{ m.content }}<end>"
    "{% elif not loop.last %}<bot>{{ m.content }}<end>{% endif %}{% endfor %}" + REPLY_OPENING
)


def test_an_empty_message_that_the_template_refuses_can_be_sent(words: Vocabulary) -> None:
    assert case(words, NO_EMPTY).cached(*chat(None, "")) == case(words, PLAIN).whole(*chat(None, ""))


def test_a_template_that_omits_a_last_reply_is_followed(words: Vocabulary) -> None:
    """It takes the last message for one that is to be answered, whoever wrote it."""
    tried = case(words, OMITTING)
    assert tried.agrees(*TWO_TURNS)
    assert words.text(tried.cached(*chat(None, "Hi", "Hello."))).endswith("<bot> Hello.<end>")


@pytest.mark.parametrize("source", [PLAIN, LLAMA2, FOLDED], ids=["plain", "llama2", "folded"])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_an_empty_first_message_cuts_no_markup(words: Vocabulary, source: str, system: str | None) -> None:
    assert case(words, source).agrees(*chat(system, "", "Hello.", "So?"))


def test_content_of_typed_pieces_is_given_to_a_template_that_wants_it(words: Vocabulary) -> None:
    source = PLAIN.replace("{{ m.content }}", "{% for each in m.content %}{{ each['text'] | trim }}{% endfor %}")
    tried = case(words, source, typed=True)
    assert tried.agrees(*TWO_TURNS)


def told(words: Vocabulary, source: str, monkeypatch: pytest.MonkeyPatch, **variables: object) -> list[str]:
    """What the person is told when a model with this template is loaded."""

    def brought(_: Model) -> str:
        return source

    monkeypatch.setattr(Model, "chat_template", brought)
    warnings: list[str] = []
    template_of(words.model, warnings, variables=variables).close()
    return warnings


def test_a_template_that_needs_tools_is_replaced_with_one_warning(
    words: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    warnings = told(words, "{% for tool in tools %}{{ tool.name }}{% endfor %}" + PLAIN, monkeypatch)
    assert len(warnings) == 1
    assert warnings[0].startswith("The model's chat template fails: ")
    assert "A plain text template is used instead" in warnings[0]


# --------------------------------------------------------------------------- names that the template reads

READING = (
    "<system>{{ date_string }} {{ reasoning_effort | default('medium') }}<end>" + PLAIN + "{% if add_generation_prompt"
    " and enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}"
)


@pytest.mark.parametrize(
    "variables",
    [{}, {"date_string": "1 May 2025"}, {"date_string": "today", "reasoning_effort": "high", "enable_thinking": False}],
)
def test_names_that_the_template_reads_can_be_set(words: Vocabulary, variables: dict[str, Any]) -> None:
    tried = case(words, READING, **variables)
    assert tried.agrees(*chat(None, "What is the sea?"))
    text = words.text(tried.cached(None, chat(None, "What is the sea?")[1]))
    assert str(variables.get("date_string", "")) in text
    assert text.endswith("<think></think>") == ("enable_thinking" in variables)


def test_a_name_that_the_template_does_not_read_is_told(words: Vocabulary, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings = told(words, READING, monkeypatch, enable_thinking=False, keep_past_thinking=True)
    assert len(warnings) == 1
    assert "does not read keep_past_thinking " in warnings[0]


# --------------------------------------------------------------------------- no reply opening


def test_another_reply_is_given_where_nothing_opens_a_reply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reply begins behind the end of the message: that is where another one does."""

    def brought(_: Model) -> str:
        return LLAMA2

    monkeypatch.setattr(Model, "chat_template", brought)
    llama.init()
    with tiny_session(tiny("llama", tmp_path), CacheRequest(n_ctx=512)) as session:
        kv = session.session.kv

        def before_reply() -> tuple[int, ...]:
            assert session.last(TurnDone).stop_reason == "length"
            return kv.ledger.tokens[: -session.last(TurnDone).stats.reply_tokens]

        session.open([])
        first_reply = session.send(1, "What is the word?")
        first = before_reply()
        assert session.again(1) != first_reply
        assert before_reply() == first
        session.send(2, "And the other?")
        second = before_reply()
        session.again(2)
        assert before_reply() == second
        session.session.undo(2)
        session.session.undo(1)
        session.send(1, "What is the word?")
        assert before_reply() == first
        assert kv.mismatch() is None
