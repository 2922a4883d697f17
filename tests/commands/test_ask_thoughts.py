"""`swachat ask` with a model that thinks before it answers."""

import argparse
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chatapp import headless
from chatapp.commands.ask import add_arguments, run
from chatapp.paths import store_file
from chatapp.protocol.commands import Command, Open
from chatapp.store import Store, StoredMessage
from tests.support.fake_engine.script import Script
from tests.support.fake_engine.thoughts import ThinkingEngine
from tests.support.tiny_models import tiny


class Asking:
    """The command, on engines whose model thinks "Hmm." and answers " Good day."; what they were told."""

    def __init__(self, model: Path) -> None:
        self.model = model
        self.posted: list[Command] = []

    def __call__(self, *words: str) -> int:
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return run(parser.parse_args(["Hello", "--model", str(self.model), *words]))

    def engine(self, log: Path) -> ThinkingEngine:
        return ThinkingEngine(Script(replies=("Hmm. Good day.",)), posted=self.posted)


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    asking = Asking(tiny("llama", tmp_path))
    monkeypatch.setattr(headless, "EngineClient", asking.engine)
    with Path(os.devnull).open() as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield asking


def stored() -> list[StoredMessage]:
    with Store.open(store_file()) as store:
        return store.path(store.session("talk").id)


def test_standard_output_is_the_answer_alone_unless_thoughts_are_asked_for(
    ask: Asking, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask() == 0
    assert capsys.readouterr().out == " Good day.\n"
    assert ask("--show-thoughts") == 0
    assert capsys.readouterr().out == "[thoughts]\nHmm.\n\n[answer]\n Good day.\n"


def test_json_has_the_reasoning_apart(ask: Asking, capsys: pytest.CaptureFixture[str]) -> None:
    assert ask("--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert {name: result[name] for name in ("reply", "reasoning", "reply_tokens", "reasoning_tokens")} == {
        "reply": " Good day.",
        "reasoning": "Hmm.",
        "reply_tokens": 3,
        "reasoning_tokens": 1,
    }


def test_the_next_question_takes_tokens_and_thoughts_of_the_stored_replies_along(ask: Asking) -> None:
    assert ask("--session", "talk") == 0
    _, reply = stored()
    assert (reply.text, reply.reasoning, len(reply.tokens)) == (" Good day.", "Hmm.", 3 * 4)
    assert reply.model
    assert ask("--session", "talk") == 0
    _, opened = (command for command in ask.posted if isinstance(command, Open))
    _, again = opened.messages
    assert (again.text, again.reasoning, again.tokens, again.model) == (
        reply.text,
        reply.reasoning,
        reply.tokens,
        reply.model,
    )
