"""What of a reply is thought: whole replies, and any way of cutting them."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chatapp.thinking.families import FAMILIES, Family
from chatapp.thinking.parser import Kind, Parser, Part

BY_NAME = {family.name: family for family in FAMILIES}
HARMONY: Final[Sequence[str]] = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|constrain|>")
Piece = tuple[bytes, bool]


def plain(text: str) -> list[Piece]:
    """A token a byte."""
    return [(bytes([byte]), False) for byte in text.encode()]


def tokens(text: str, specials: Sequence[str]) -> list[Piece]:
    """Special tokens, and between them a token a byte."""
    pieces: list[Piece] = []
    while text:
        special = next((each for each in specials if text.startswith(each)), "")
        pieces += [(special.encode(), True)] if special else plain(text[0])
        text = text[len(special) or 1 :]
    return pieces


def joined(parts: Iterable[Part]) -> list[Part]:
    """The same with one part for each change of kind."""
    return [
        Part(kind, b"".join(part.data for part in of_kind)) for kind, of_kind in groupby(parts, lambda part: part.kind)
    ]


def parse(parser: Parser, pieces: Sequence[Piece]) -> list[Part]:
    """All parts of a reply."""
    return joined([part for piece, special in pieces for part in parser.feed(piece, special=special)] + parser.end())


def said(name: str, reply: str, *, opening: str = "", specials: Sequence[str] = ()) -> tuple[str, str]:
    """What the model thought, and what it answered."""
    parts = parse(Parser(BY_NAME[name], opening=opening, specials=specials), tokens(reply, specials))
    assert b"".join(part.data for part in parts).decode() == reply
    thought, answer = (
        b"".join(part.data for part in parts if part.kind is kind).decode() for kind in (Kind.REASONING, Kind.ANSWER)
    )
    return thought, answer


@pytest.mark.parametrize(
    ("name", "opening", "reply", "reasoning", "answer"),
    [
        ("think", "", "<think>\nWhy not?\n</think>\n\nYes.\n", "Why not?", "Yes.\n"),
        ("think", "", "\n<think>a</think>b</think>", "a", "b</think>"),
        ("think", "", " No <think>thoughts</think>", "", " No <think>thoughts</think>"),
        ("think", "<|im_start|>assistant\n<think>\n", "Hm…</think>Yes", "Hm…", "Yes"),
        ("think", "<|im_start|>assistant\n<think>\n\n</think>\n\n", "\nYes", "", "Yes"),
        ("think", "<assistant></think>", "Yes", "", "Yes"),
        ("think", "", "<think>\n\n</think>\n\nYes", "", "Yes"),
        ("think", "", "<think>```\n</think>\n", "```", ""),
        ("think", "", "<thin", "", "<thin"),
        ("think", "", "  ", "", "  "),
        ("mistral", "", "[THINK]a[/THINK]b", "a", "b"),
        ("gemma-4", "<|turn>model\n", "<|channel>thought\nHm\n<channel|>Yes", "Hm", "Yes"),
        ("gemma-4", "<|turn>model\n<|channel>thought\n<channel|>", "Yes", "", "Yes"),
        ("seed", "assistant\n", "<seed:think>a</seed:think>b", "a", "b"),
        ("apriel", "\n<|begin_assistant|>\nHere are my reasoning steps:\n", "a\n[BEGIN FINAL RESPONSE]\nb", "a", "b"),
        ("granite", "", "<think>a</think>\n<response>b</response>", "a", "b"),
        ("granite", "", "<think>a</think>b</response>", "a", "b</response>"),
        ("granite", "", "<response>```\n</response>\n```\n</response>\n", "", "```\n</response>\n```\n\n"),
        ("command", "", "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>", "a", "b"),
        ("kimi-k3", "<|open|>think<|sep|>", "a<|close|>think<|sep|><|open|>response<|sep|>b<|close|>response<|sep|>",
         "a", "b"),
        ("kimi-k3", "<|open|>response<|sep|>", "b<|close|>response<|sep|>", "", "b"),
        ("muse", "<|start|>assistant", " to=self<|message|>a<|eom|><|start|>assistant<|message|>b", "a", "b"),
    ],
)  # fmt: skip
def test_a_reply_is_split(name: str, opening: str, reply: str, reasoning: str, answer: str) -> None:
    assert said(name, reply, opening=opening) == (reasoning, answer)


def test_channels_alternate_between_messages() -> None:
    analysis, final = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"
    reply = f"{analysis}one<|end|><|start|>assistant{final}first <|end|><|start|>assistant{analysis}two"
    assert said("harmony", reply, opening="<|start|>assistant", specials=HARMONY) == ("onetwo", "first ")
    reply = reply.replace("first ", "```\n")
    assert said("harmony", reply, opening="<|start|>assistant", specials=HARMONY) == (
        "one",
        "```\nassistantanalysistwo",
    )


def test_a_marker_that_is_a_special_token_is_not_recognised_in_text() -> None:
    parser = Parser(BY_NAME["think"], specials=["<think>", "</think>"])
    assert parse(parser, plain("<think>a</think>")) == [Part(Kind.ANSWER, b"<think>a</think>")]
    parser = Parser(BY_NAME["think"], specials=["<think>", "</think>"])
    pieces = [(b"<think>", True), *plain("a</think>b"), (b"</think>", True), *plain("c")]
    assert [part.data for part in parse(parser, pieces)] == [b"<think>", b"a</think>b", b"</think>", b"c"]


def test_what_is_not_decided_is_held_back_and_released() -> None:
    parser = Parser(BY_NAME["think"])
    assert parser.feed(b"\n<thi") == []
    assert parser.feed(b"s is it") == [Part(Kind.ANSWER, b"\n<this is it")]
    parser = Parser(BY_NAME["think"], opening="<think>")
    assert parser.feed(b"so\n") == [Part(Kind.REASONING, b"so")]
    assert parser.feed(b"</") == []
    assert parser.thinking
    assert not parser.unclosed
    assert parser.end() == [Part(Kind.REASONING, b"\n</")]
    assert parser.unclosed


def test_special_tokens_are_not_text() -> None:
    assert parse(Parser(None), [*plain("a"), (b"<|x|>", True), *plain("<think>")]) == [
        Part(Kind.ANSWER, b"a"), Part(Kind.MARKUP, b"<|x|>"), Part(Kind.ANSWER, b"<think>"),
    ]  # fmt: skip


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_the_ending_of_every_family_begins_the_answer(family: Family) -> None:
    parser = Parser(family, opening=family.openings[0])
    assert parser.thinking
    parts = parse(parser, plain(f"a{family.ending}b"))
    assert [part.kind for part in parts] == [Kind.REASONING, Kind.MARKUP, Kind.ANSWER]


@st.composite
def replies(draw: st.DrawFn) -> tuple[Family, str, list[str], list[Piece]]:
    """A family, what is before the reply, which of its strings are special tokens, and a reply as atoms that no cut
    goes through.
    """
    family = draw(st.sampled_from(FAMILIES))
    choices: list[list[str]] = [[], [*HARMONY], [*family.openings, *family.closings], ["<|x|>"]]
    specials = draw(st.sampled_from(choices))
    words = ["\n", " ", "```\n", "a", "é", "<", "</think", "…", "<|x|>", *family.markers, family.ending]
    text = "".join(draw(st.lists(st.sampled_from(words), max_size=12)))
    opening = draw(st.sampled_from(["", family.openings[0] + "\n", family.openings[0] + family.closings[0]]))
    return family, opening, specials, tokens(text, specials)


@given(replies(), st.data())
def test_any_cutting_gives_the_same_parts(
    reply: tuple[Family, str, list[str], list[Piece]], data: st.DataObject
) -> None:
    family, opening, specials, atoms = reply
    pieces: list[Piece] = []
    for special, run in groupby(atoms, lambda piece: piece[1]):
        for piece, _ in run:
            if pieces and not special and not pieces[-1][1] and data.draw(st.booleans()):
                pieces[-1] = (pieces[-1][0] + piece, False)
            else:
                pieces.append((piece, special))
    parts = parse(Parser(family, opening=opening, specials=specials), atoms)
    assert parse(Parser(family, opening=opening, specials=specials), pieces) == parts
    assert b"".join(part.data for part in parts) == b"".join(piece for piece, _ in atoms)
