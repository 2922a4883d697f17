"""What a turn costs before the model sees it: rendering its message and its reply's closing, and tokenizing both.

Usage: python -m benchmarks.templates [MODEL] [--turns 1 100 5000] [--tries N]

In a conversation of so many turns: the median and the slowest of N turns, through the model's own chat template in its
process, and its vocabulary; no weights are read. `whole_ms` is one rendering of the whole conversation and its
tokenization, which no turn needs. Exits 1 where the median of a turn is above LIMIT_MS.
"""

import argparse
import sys
import time
from statistics import median

from benchmarks.shared import show
from chatapp import models
from chatapp.engine.native import llama
from chatapp.engine.native.llama import Model
from chatapp.engine.session.transcript import BranchTranscript
from chatapp.engine.session.turn_tokens import TurnTokens
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.engine.template.model_template import template_of
from chatapp.engine.template.process import TemplateProcess
from chatapp.protocol.values import Message

LIMIT_MS = 5.0
SYSTEM = "You are a helpful assistant. Answer briefly."
TEXT = "What is the depth of the sea there, and how far is it to the nearest harbour from here? " * 2
REPLY = "It is 40 m deep. The harbour is 12 miles to the north: keep the lighthouse on your left. " * 4


def conversation(model: Model, tokens: TurnTokens, turns: int) -> BranchTranscript:
    """So many answered turns, each another one."""
    messages: list[Message] = []
    for turn in range(1, turns + 1):
        reply = f"{turn}. {REPLY}"
        messages.append(Message(turn=turn, role="user", text=f"{turn}. {TEXT}"))
        messages.append(tokens.reply(turn, reply, model.tokenize(reply, special=False)))
    return BranchTranscript.of(SYSTEM, messages)


def turn_ms(template: ChatTemplate, tokens: TurnTokens, said: BranchTranscript) -> float:
    """One more turn, as the session makes it."""
    began = time.perf_counter()
    closing = tokens.closing(said)
    after = template.text(tokens.past(said.messages[-1]).tokens[-1:])
    template.prompt(said.system, TEXT, closing=closing, after=after)
    return 1000 * (time.perf_counter() - began)


def whole_ms(model: Model, process: TemplateProcess, said: BranchTranscript) -> float:
    """What a turn would cost if all of the conversation were rendered again."""
    rows = [("system", SYSTEM), *((message.role, message.text) for message in said.messages), ("user", TEXT)]
    began = time.perf_counter()
    text = process.render([{"role": role, "content": text} for role, text in rows], reply=True, variables={})
    model.tokenize(text, special=True)
    return 1000 * (time.perf_counter() - began)


def main() -> int:
    """Measure and print; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", nargs="?", default="starter")
    parser.add_argument("--turns", type=int, nargs="+", default=[1, 100, 5000])
    parser.add_argument("--tries", type=int, default=200)
    arguments = parser.parse_args()
    llama.init()
    model = Model(models.resolve(arguments.model), vocab_only=True)
    template = template_of(model, [])
    tokens = TurnTokens(template, "model", model.n_vocab)
    process = TemplateProcess(model.chat_template() or "")
    process.accept()
    rows: list[dict[str, object]] = []
    slow = False
    for turns in arguments.turns:
        said = conversation(model, tokens, turns)
        taken = [turn_ms(template, tokens, said) for _ in range(arguments.tries)]
        slow |= median(taken) > LIMIT_MS
        rows.append(
            {
                "turns": turns,
                "turn_ms": median(taken),
                "slowest_ms": max(taken),
                "whole_ms": whole_ms(model, process, said),
            }
        )
    show(rows, "templates")
    process.close()
    template.close()
    model.close()
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
