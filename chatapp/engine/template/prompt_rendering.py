"""What would be cached after given messages, with no model loaded but its vocabulary, or none at all."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

from chatapp.engine.native.llama import Model
from chatapp.engine.template.chat_template import ChatTemplate
from chatapp.engine.template.model_template import NO_SYSTEM, read_template, template_of
from chatapp.engine.template.no_vocabulary import template_alone
from chatapp.engine.template.process import TemplateProcess
from chatapp.engine.template.walk import walk
from chatapp.engine.token_text import TokenText
from chatapp.errors import ModelError, UserError
from chatapp.protocol.commands import RenderPrompt
from chatapp.protocol.values import Message
from chatapp.protocol.window_text import PromptRendered, TextPart

_FOLLOWING = "a"


def rendered(command: RenderPrompt, cancelled: Callable[[], bool] = lambda: False) -> PromptRendered:
    """Answer RenderPrompt. UserError where the template's file cannot be read, ModelError where the template fails or
    refuses the messages, or the model cannot be read, CancelledError where the user cancelled.
    """
    warnings: list[str] = []
    own, variables = command.engine.chat_template, dict(command.engine.template_args)
    with ExitStack() as stack:
        model: Model | None = None
        if command.path is not None:
            model = stack.enter_context(closing(Model(Path(command.path), gpu_layers=0, vocab_only=True)))
            template = template_of(model, warnings, own=own, variables=variables, cancelled=cancelled)
            stack.enter_context(closing(template))
            text = TokenText(partial(model.piece, special=True), model.is_special)
        elif own is None:
            raise UserError("There is neither a model nor a template.", "Name one of them.")
        else:
            source = read_template(own)
            try:
                process = stack.enter_context(closing(TemplateProcess(source, cancelled)))
                template, alone = template_alone(process, source, bos=command.bos, eos=command.eos, variables=variables)
            except ModelError as error:
                raise ModelError(f"{own}: {error.what}", "Fix the template.") from error
            if not template.takes_system:
                warnings.append(NO_SYSTEM)
            text = TokenText(alone.spell, alone.is_special)
        parts = walk(template, command.system, command.messages)
        return PromptRendered(
            at_s=time.time(),
            parts=[
                TextPart(
                    turn=part.turn,
                    role=part.role,
                    pieces=[*text.read(part.tokens), *(text.end() if part is parts[-1] else [])],
                    tokens=None if model is None else len(part.tokens),
                )
                for part in parts
            ],
            reference=_reference(template, model, command, "".join(part.text for part in parts))
            if command.reference
            else None,
            warnings=warnings,
        )


def _reference(template: ChatTemplate, model: Model | None, command: RenderPrompt, ours: str) -> str:
    """The template's own output for the whole conversation, as its tokens spell it.

    Behind a last reply stands what does where another message follows, if that is what `ours` has.
    """
    rows = _rows(command.system, command.messages, takes_system=template.takes_system)
    replied = rows[-1][0] == "assistant"

    def read(text: str) -> str:
        return text if model is None else template.text(model.tokenize(text, special=True))

    whole = read(template.whole(rows, reply=not replied))
    if replied and whole != ours:
        followed = read(template.whole([*rows, ("user", _FOLLOWING)], reply=False))
        if followed.startswith(ours):
            return ours
    return whole


def _rows(system: str | None, messages: Sequence[Message], *, takes_system: bool) -> list[tuple[str, str]]:
    """The messages as (role, text); the system prompt is put before the first one where it is not taken."""
    rows = [(message.role, message.text) for message in messages]
    if system and takes_system:
        return [("system", system), *rows]
    if system:
        return [(rows[0][0], f"{system}\n\n{rows[0][1]}"), *rows[1:]]
    return rows
