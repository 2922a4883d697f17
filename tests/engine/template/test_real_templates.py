"""Every chat template of llama.cpp's archive against one plain rendering of the whole conversation: text and tokens.

The tokens are those of real vocabularies: of the template's own family where the archive has it, and of two others that
got the special tokens of all these templates, one SentencePiece and one BPE.
"""

import re
from collections.abc import Callable
from functools import cache

import pytest
from jinja2 import TemplateError
from msgspec.structs import replace

from chatapp.engine.template.chat_template import ChatTemplate, PastReply
from chatapp.engine.template.walk import Part, walk
from chatapp.errors import ModelError
from chatapp.protocol.values import Message
from tests.support.chats import CHATS, Chat, chat
from tests.support.llama_archive import Vocabulary, template_files, vocabulary, with_control_tokens
from tests.support.reference_template import ReferenceTemplate, hidden, inert_tokens, reference_tokens

SOURCES = {file.stem: file.read_text("utf-8") for file in template_files()}
MARKERS = re.compile(r"<\|[^|<>\s]{1,40}\|>|<\|[a-z_]{1,20}>|<[a-z_]{1,20}\|>|<｜[^｜\s{}]{1,40}｜>|\[/?[A-Z_]{2,20}\]")
"""What the templates write that is one token for their models."""
MORE_MARKERS = {
    *("<start_of_turn>", "<end_of_turn>", "<seed:bos>", "<seed:eos>", "[gMASK]", "<sop>", "<sep>"),
    *(f"<｜hy_{name}:opensource｜>" for name in ("begin_of_sentence", "User", "Assistant", "eos")),
}
OWN = {
    "gemma-4": ("google-gemma-4",),
    "command-r": ("Cohere2MoE", "CohereForAI"),
    "llama-bpe": ("meta-llama", "meetkai"),
    "phi-3": ("microsoft-Phi-3",),
    "qwen2": ("Qwen-", "Qwen3-", "MiMo", "Bielik"),
    "qwen35": ("Qwen3.5",),
}
"""Vocabularies of the archive, and how the names of the templates begin that are written for them."""

# --------------------------------------------------------------------------- what may differ, and why

NEED_TOOLS = {
    "CohereForAI-c4ai-command-r-plus-tool_use": "'NoneType' object is not iterable",
    "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use": "'NoneType' object is not iterable",
    "NousResearch-Hermes-3-Llama-3.1-8B-tool_use": "'NoneType' object is not iterable",
    "fireworks-ai-llama-3-firefunction-v2": "'functions' is undefined",
}
"""These fail in the reference too: the engine falls back on another template."""
REFUSES_SYSTEM = {"google-gemma-2-2b-it"}
"""The system prompt is then the beginning of the first message."""
MOVES_SYSTEM = {"mistralai-Mistral-Nemo-Instruct-2407"}
"""The template puts it into the last message, each time; in the cache it stays where it was first put: in the first."""
LESS_AROUND_NOTHING = "the template writes less around an empty reply than around any other"
REFUSES_NOTHING = "the reference refuses an empty reply; the engine goes on"
OTHERWISE = {
    "ByteDance-Seed-OSS": {"empty reply": LESS_AROUND_NOTHING},
    "GLM-4.6": {"empty reply": LESS_AROUND_NOTHING},
    "llama-cpp-deepseek-r1": {"empty reply": LESS_AROUND_NOTHING},
    "meetkai-functionary-medium-v3.2": {"empty reply": LESS_AROUND_NOTHING},
    "mistralai-Ministral-3-14B-Reasoning-2512": {"empty reply": REFUSES_NOTHING},
    "poolside-Laguna-XS-2.1": {"empty reply": LESS_AROUND_NOTHING},
    "poolside-Laguna-XS.2": {"empty reply": LESS_AROUND_NOTHING},
}
"""Of a template, the conversations that differ from the reference; each must, and no other."""
THOUGHTS = {
    "Apriel-1.6-15b-Thinker-fixed",
    "Cohere2MoE",
    "CohereForAI-c4ai-command-r7b-12-2024-tool_use",
    "GLM-4.7-Flash",
    "MiniMax-M2",
    "NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
    "NVIDIA-Nemotron-Nano-v2",
    "Qwen-QwQ-32B",
    "Qwen3.5-4B",
    "Spark2.5",
    "StepFun3.5-Flash",
    "deepseek-ai-DeepSeek-R1-Distill-Llama-8B",
    "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
    "deepseek-ai-DeepSeek-V3.2",
    "google-gemma-4-31B-it",
    "google-gemma-4-31B-it-interleaved",
    "llama-cpp-deepseek-r1",
}
"""They open a reply with a thought, or with its end, and leave it out before a reply of the past: in the cache it is
kept, as the model saw it when it wrote the reply.
"""
INERT = (
    "<s>",
    "</s>",
    "<|begin_of_text|>",
    "<|im_end|>",
    "<|eot_id|>",
    "[INST]",
    "<end_of_turn>",
    "<|end|>",
    "<|user|>",
)
"""What people write, where the vocabulary has it as a special token."""
NEXT = "Which next message?"

# --------------------------------------------------------------------------- vocabularies


@pytest.fixture(scope="module")
def vocabularies(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Vocabulary]]:
    """Those that a template is tried with."""
    folder = tmp_path_factory.mktemp("vocabularies")
    markers = MORE_MARKERS.union(*(MARKERS.findall(source) for source in SOURCES.values()))

    @cache
    def generic(name: str) -> Vocabulary:
        new = sorted(markers.difference(vocabulary(name).control))
        return with_control_tokens(name, new, folder / f"{name}.gguf")

    def chosen(template: str) -> list[Vocabulary]:
        own = [vocabulary(name) for name, beginnings in OWN.items() if template.startswith(beginnings)]
        return [*own, generic("llama-spm"), generic("llama-bpe")]

    return chosen


# --------------------------------------------------------------------------- the tests


def expected(reference: ReferenceTemplate, name: str, told: Chat) -> str:
    """The plain rendering of a conversation, to which a next message is added where a reply ends it."""
    system, messages = told
    if system and name in REFUSES_SYSTEM | MOVES_SYSTEM:
        first = messages[0]
        messages = [Message(turn=1, role="user", text=f"{system}\n\n{first.text}"), *messages[1:]]
        system = None
    if messages[-1].role == "assistant":
        messages = [*messages, Message(turn=messages[-1].turn + 1, role="user", text=NEXT)]
    return reference.render(system, messages, reply=True)


def tokens_of(parts: list[Part]) -> list[int]:
    """All of them, in order."""
    return [token for part in parts for token in part.tokens]


def told_apart(parts: list[Part], messages: list[Message]) -> bool:
    """Whether the head comes first, then each message in its turn, and each turn's text is in its own part."""
    turns = [part.turn for part in parts if part.role != "system"]
    return turns == sorted(turns) and all(
        message.text.strip() in "".join(p.text for p in parts if (p.turn, p.role) == (message.turn, message.role))
        for message in messages
    )


def test_there_are_seventy_templates() -> None:
    """None is left out in silence, and no table speaks of another."""
    assert len(SOURCES) == 70
    assert SOURCES.keys() >= NEED_TOOLS.keys() | REFUSES_SYSTEM | MOVES_SYSTEM | OTHERWISE.keys()


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - NEED_TOOLS.keys()))
def test_the_cache_has_the_text_and_the_tokens_of_the_whole(
    name: str, vocabularies: Callable[[str], list[Vocabulary]]
) -> None:
    """Put together turn by turn; except where a table says why not."""
    for words in vocabularies(name):
        template = words.template(SOURCES[name])
        assert template.takes_system == (name not in REFUSES_SYSTEM)
        reference = ReferenceTemplate(SOURCES[name], variables=words.named)
        differ = {title for title, told in CHATS.items() if not same(template, told, name, reference, words)}
        assert differ == OTHERWISE.get(name, {}).keys(), f"with the vocabulary {words.name}"


def same(template: ChatTemplate, told: Chat, name: str, reference: ReferenceTemplate, words: Vocabulary) -> bool:
    """Whether text and tokens of a conversation are those of the reference; after a reply, up to the next message."""
    parts = walk(template, *told)
    assert told_apart(parts, told[1])
    try:
        whole = expected(reference, name, told)
    except TemplateError:
        return False
    tokens = tokens_of(parts)
    text = "".join(part.text for part in parts)
    right = reference_tokens(words.model, whole)
    if told[1][-1].role == "assistant":
        right, left = right[: len(tokens)], words.text(right[len(tokens) :])
        if left.count(NEXT) != 1:
            return False
    bos = words.named["bos_token"] if words.model.bos is not None else ""
    return tokens == right and (not words.exact or (bos + whole.removeprefix(bos)).startswith(text))


@pytest.mark.parametrize("name", sorted(NEED_TOOLS))
def test_what_fails_fails_in_the_reference_too(name: str, vocabularies: Callable[[str], list[Vocabulary]]) -> None:
    """With the same words, which the person is told."""
    words = vocabularies(name)[0]
    with pytest.raises((TemplateError, TypeError), match=NEED_TOOLS[name]):
        ReferenceTemplate(SOURCES[name], variables=words.named).render(None, chat(None, "Hi")[1], reply=True)
    with pytest.raises(ModelError, match=NEED_TOOLS[name]):
        words.template(SOURCES[name])


@pytest.mark.parametrize("name", sorted(MOVES_SYSTEM))
def test_what_moves_the_system_prompt_does(name: str, vocabularies: Callable[[str], list[Vocabulary]]) -> None:
    """It stands in front of the last message in the reference, and in front of the first in the cache."""
    words = vocabularies(name)[0]
    system, messages = CHATS["two turns, system prompt"]
    whole = ReferenceTemplate(SOURCES[name], variables=words.named).render(system, messages, reply=True)
    ours = "".join(part.text for part in walk(words.template(SOURCES[name]), system, messages))
    assert whole.index(messages[0].text) < whole.index(str(system))
    assert ours.index(messages[0].text) > ours.index(str(system))


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - NEED_TOOLS.keys()))
def test_what_people_write_is_no_special_token(name: str, vocabularies: Callable[[str], list[Vocabulary]]) -> None:
    """Also where it is spelled as one: then all tokens are those of the whole text with these spellings inert."""
    for words in vocabularies(name)[-2:]:
        spelled = [each for each in INERT if each in words.control]
        one, two, three = (" ".join(["a", *each, "b"]) for each in (spelled, spelled[::-1], spelled[::2]))
        system, messages = chat(three, one, two, f"<{one}>\n{two}")
        told = expected(
            ReferenceTemplate(SOURCES[name], variables=words.named),
            name,
            (hidden(three, spelled), [replace(message, text=hidden(message.text, spelled)) for message in messages]),
        )
        tokens = tokens_of(walk(words.template(SOURCES[name]), system, messages))
        assert tokens == inert_tokens(words.model, told, spelled, words.control)


@pytest.mark.parametrize("name", sorted(SOURCES.keys() - NEED_TOOLS.keys()))
def test_a_reply_that_the_model_wrote_is_closed_once(
    name: str, vocabularies: Callable[[str], list[Vocabulary]]
) -> None:
    """The model writes what its template puts before the text, and of what follows nothing, or a part: the text in the
    cache is that of the reference in each case.
    """
    words = vocabularies(name)[-1]
    template = words.template(SOURCES[name])
    specials = re.compile("|".join(map(re.escape, sorted(words.control, key=len, reverse=True))))
    system, messages = CHATS["four turns"]
    reference = ReferenceTemplate(SOURCES[name], variables=words.named)
    whole = expected(reference, name, (system, messages))
    if words.named["bos_token"] not in whole:
        whole = words.named["bos_token"] + whole
    ends = [len(words.text(tokens_of(walk(template, system, messages[:n])))) for n in (2, 4, 6)]
    for n_specials in range(4):
        at, after, closing, thoughts = 0, None, "", False
        for turn, asked in enumerate(messages[::2]):
            prompt = template.prompt(system, asked.text, first=turn == 0, begun=turn > 0, closing=closing, after=after)
            added = words.text(prompt.closing + prompt.preamble + prompt.user + prompt.head_end + prompt.reply_opening)
            said = added.index(asked.text) + len(asked.text)
            assert whole.startswith(added[:said], at)
            assert expected(reference, name, (system, messages[: 2 * turn + 1])).endswith(added[said:])
            if turn == len(ends):
                assert whole[at:] == added
                break
            reply = messages[2 * turn + 1].text
            end = whole.index(reply, at) + len(reply)
            begin = at + len(added)
            if not whole.startswith(added, at):
                begin, thoughts = end - len(reply), True
            stops = [end, *(match.end() for match in specials.finditer(whole, end, ends[turn]))][:-1] or [end]
            at = stops[min(n_specials, len(stops) - 1)]
            written = words.model.tokenize(whole[begin:at], special=True)
            answer = PastReply(b"".join(map(words.model.piece, written)).decode(), tuple(written))
            closing = template.closing(system, answer, first=turn == 0)
            after = words.text(written[-1:])
        assert thoughts == (name in THOUGHTS)
