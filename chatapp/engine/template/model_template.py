"""The chat template of a loaded model, or a fallback where it has none that works."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from chatapp.engine import stoppable
from chatapp.engine.native.llama import Model
from chatapp.engine.template.chat_template import ChatTemplate, Renderer
from chatapp.engine.template.fallbacks import fallback
from chatapp.engine.template.process import TemplateProcess
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.errors import ModelError

LONG_TEXT = 1 << 16
"""Characters of a text that takes llama.cpp a noticeable time to tokenize: one that is longer can be stopped."""


def template_of(
    model: Model,
    warnings: list[str],
    *,
    own: str | None = None,
    variables: Mapping[str, Any] = {},
    cancelled: Callable[[], bool] = lambda: False,
    on_long: Callable[[int], None] = lambda _: None,
) -> ChatTemplate:
    """The model's chat template; where it has none that works, one that its special tokens suggest, and a line in
    `warnings`.

    `own` is one to use in place of the model's, and `variables` are names that it is given; a name that it does not
    read is told in `warnings` too.

    Where the template takes long, or tokenizing a long text, CancelledError is raised soon after `cancelled` says so;
    `on_long` gets the characters of such a text before. It is tokenized in one piece: a token might have crossed
    a cut.
    """
    spellings = model.control_spellings()
    strips = model.stripping_spellings()

    def tokenize(text: str, special: bool) -> list[int]:
        if len(text) < LONG_TEXT:
            return model.tokenize(text, special=special)
        on_long(len(text))
        return stoppable.in_thread(partial(model.tokenize, text, special=special), cancelled)

    def made(source: str, renderer: Renderer, variables: Mapping[str, Any]) -> ChatTemplate:
        marks = [spelling for spelling in model.user_defined_spellings() if spelling.strip() and spelling in source]
        return ChatTemplate(
            renderer,
            tokenize=tokenize,
            spell=partial(model.piece, special=True),
            spellings=spellings + marks,
            strips=strips,
            bos=model.named_token("bos"),
            eos=model.named_token("eos"),
            add_bos=model.bos,
            variables=variables,
        )

    source, name = fallback(spellings)
    own = own or model.chat_template()
    if own is None:
        warnings.append(f"The model has no chat template, so a {name} template is used. It may not be a chat model.")
        return made(source, SandboxedTemplate(source), {})
    try:
        process = TemplateProcess(own, cancelled)
        template = made(own, process, variables)
        try:
            template.try_out()
            process.accept()
        except BaseException:
            process.close()
            raise
    except ModelError as error:
        warnings.append(f"{error.what} A {name} template is used instead; replies may be worse.")
        return made(source, SandboxedTemplate(source), {})
    if not template.takes_system:
        warnings.append(
            "The model's chat template does not accept a system prompt: it is put in front of the first message."
        )
    if unread := sorted(variables.keys() - set(process.reads)):
        warnings.append(f"The model's chat template does not read {', '.join(unread)} of engine.template_args.")
    return template
