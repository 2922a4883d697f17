"""The chat template of a loaded model, or a fallback where it has none that works."""

from collections.abc import Callable, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

from chatapp.engine import stoppable
from chatapp.engine.native.llama import Model
from chatapp.engine.template.chat_template import ChatTemplate, Renderer
from chatapp.engine.template.fallbacks import fallback
from chatapp.engine.template.process import TemplateProcess
from chatapp.engine.template.sandbox import SandboxedTemplate
from chatapp.errors import ModelError, UserError

LONG_TEXT = 1 << 16
"""Characters of a text that takes llama.cpp a noticeable time to tokenize: one that is longer can be stopped."""
NO_SYSTEM = "The model's chat template does not accept a system prompt: it is put in front of the first message."


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

    `own` is the path of one to use in place of the model's: ModelError where that does not work, UserError where it
    cannot be read. `variables` are names that the template is given; one that it does not read is told in `warnings`.

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
            source=source,
            identity=blake2b(repr((source, sorted(variables.items()))).encode(), digest_size=16).hexdigest(),
        )

    source, name = fallback(spellings)
    brought = model.chat_template() if own is None else read_template(own)
    if brought is None:
        warnings.append(f"The model has no chat template, so a {name} template is used. It may not be a chat model.")
        return made(source, SandboxedTemplate(source), {})
    try:
        process = TemplateProcess(brought, cancelled)
        template = made(brought, process, variables)
        try:
            template.try_out()
            process.accept()
        except BaseException:
            process.close()
            raise
    except ModelError as error:
        if own is not None:
            raise ModelError(f"{own}: {error.what}", "Fix it, or use the model's own.") from error
        warnings.append(f"{error.what} A {name} template is used instead; replies may be worse.")
        return made(source, SandboxedTemplate(source), {})
    if not template.takes_system:
        warnings.append(NO_SYSTEM)
    if unread := sorted(variables.keys() - set(process.reads)):
        warnings.append(f"The chat template does not read {', '.join(unread)} (engine.template_args).")
    return template


def read_template(path: str) -> str:
    """The template in a file. UserError where it cannot be read."""
    wanted = "It is to be a file with a chat template."
    try:
        return Path(path).expanduser().read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.", wanted) from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not valid UTF-8 (byte {error.start}).", wanted) from error
