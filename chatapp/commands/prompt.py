"""`swachat prompt`: show the very text that a model would be given after a file of messages."""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from chatapp.commands.shared import add_config_flag, config_of, engine_log
from chatapp.errors import UserError
from chatapp.text import LONGEST_SENTENCE, one_line, visible
from chatapp.units import size

if TYPE_CHECKING:
    from chatapp.commands.messages_file import Conversation
    from chatapp.presentation.window_text import Line
    from chatapp.protocol.commands import RenderPrompt
    from chatapp.protocol.window_text import PromptRendered

DIFFERENT = 1
BOS, EOS = "<s>", "</s>"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Define the arguments."""
    parser.add_argument("messages", metavar="MESSAGES.json", help="a list of messages, as JSON; - is standard input")
    parser.add_argument("--model", metavar="MODEL", help="path, name or hf:org/repo[:file]: its template and tokens")
    parser.add_argument(
        "--template", dest="chat_template", metavar="FILE", help="a Jinja chat template; no model is needed"
    )
    parser.add_argument("--system", metavar="TEXT", help="system prompt, where the file has none")
    parser.add_argument(
        "--reference",
        action="store_true",
        help="compare with the plain rendering of the whole conversation; exit code 1 where they differ",
    )
    parser.add_argument("--bos", metavar="TEXT", help=f"how BOS is spelled where there is no model (default {BOS})")
    parser.add_argument("--eos", metavar="TEXT", help=f"how EOS is spelled where there is no model (default {EOS})")
    parser.add_argument("--json", action="store_true", help="print only a JSON object")
    add_config_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command; the exit code."""
    from chatapp.presentation.window_text import whole

    if args.model is None and args.chat_template is None:
        raise UserError("There is nothing to render with.", "Name a model with --model, or a file with --template.")
    if args.model is not None and (args.bos is not None or args.eos is not None):
        raise UserError("--bos and --eos are for a template alone.", "Leave them out: the model knows its tokens.")
    found = asyncio.run(_render(_request(args, _read(args))))
    text = whole(found.parts)
    equal = None if found.reference is None else text == found.reference
    for warning in found.warnings:
        print(f"swachat: {one_line(warning, LONGEST_SENTENCE)}", file=sys.stderr)
    if args.json:
        print(json.dumps(_as_json(found, text, equal)))
    elif sys.stdout.isatty():
        _print(found)
    else:
        sys.stdout.write(text)
    if equal is None or equal:
        return 0
    if not args.json:
        assert found.reference is not None
        sys.stdout.flush()
        print("\n".join(map(visible, difference(text, found.reference))), file=sys.stderr)
    return DIFFERENT


def _read(args: argparse.Namespace) -> "Conversation":
    """The messages, and the system prompt from wherever it comes."""
    from chatapp.commands.messages_file import Conversation, parse

    conversation = parse(*_data(args.messages))
    if args.system is None:
        return conversation
    if conversation.system is not None:
        raise UserError("There are two system prompts.", "Leave out --system, or that of the file.")
    return Conversation(args.system, conversation.messages)


def _data(name: str) -> tuple[bytes, str]:
    """What the file holds, and what it is called."""
    from chatapp.commands import given

    if name == "-":
        text = given.standard_input(patient=True)
        if text is None:
            raise UserError("Standard input is a terminal.", "Name a file, or redirect one to standard input.")
        return text.encode(), "Standard input"
    try:
        with open(name, "rb") as file:
            data = file.read(given.MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"{name} cannot be read: {error.strerror}.", "Name another file.") from error
    if len(data) > given.MOST_BYTES:
        raise UserError(f"{name} is longer than {size(given.MOST_BYTES)}.", "Give a part of it.")
    return data, name


def _request(args: argparse.Namespace, conversation: "Conversation") -> "RenderPrompt":
    from msgspec import structs

    from chatapp import models
    from chatapp.config import engine_settings
    from chatapp.protocol.commands import RenderPrompt

    settings = engine_settings(config_of(args))
    if settings.chat_template is not None:
        absolute = str(Path(settings.chat_template).expanduser().absolute())
        settings = structs.replace(settings, chat_template=absolute)
    return RenderPrompt(
        path=None if args.model is None else str(models.resolve(args.model)),
        engine=settings,
        system=conversation.system,
        messages=conversation.messages,
        reference=args.reference,
        bos=BOS if args.bos is None else args.bos,
        eos=EOS if args.eos is None else args.eos,
    )


async def _render(request: "RenderPrompt") -> "PromptRendered":
    from chatapp.headless import Headless
    from chatapp.protocol.events import Started
    from chatapp.protocol.window_text import PromptRendered

    async with Headless(engine_log()) as engine:
        await engine.until(Started)
        engine.post(request)
        return await engine.until(PromptRendered)


def _print(found: "PromptRendered") -> None:
    """For people: each part with its heading, and where it was asked for and differs, the plain rendering."""
    from chatapp.presentation.window_text import body, lines, whole
    from chatapp.protocol.window_text import TextPiece

    print("\n".join(_joined(line) for line in lines(found.parts)))
    if found.reference is None:
        return
    if found.reference == whole(found.parts):
        print("\nThe plain rendering of the whole conversation is the same.")
    else:
        print("\nThe plain rendering of the whole conversation:")
        print("\n".join(_joined(line) for line in body([TextPiece(text=found.reference)])))


def _joined(line: "Line") -> str:
    return "".join(span.text for span in line)


def difference(ours: str, reference: str) -> list[str]:
    """A unified diff from the plain rendering to what would be cached; each line end is shown.

    >>> print("\\n".join(difference("a\\nb", "a\\nc")))
    --- plain rendering
    +++ in the cache
    @@ -1,2 +1,2 @@
     a↵
    -c
    +b
    """
    from difflib import unified_diff

    before, after = (text.replace("\n", "↵\n").split("\n") for text in (reference, ours))
    return list(unified_diff(before, after, "plain rendering", "in the cache", lineterm=""))


def _as_json(found: "PromptRendered", text: str, equal: bool | None) -> dict[str, object]:
    from msgspec import to_builtins

    return {
        "parts": [
            {
                "turn": part.turn,
                "role": part.role,
                "text": "".join(piece.text for piece in part.pieces),
                "tokens": part.tokens,
                "pieces": to_builtins(part.pieces),
            }
            for part in found.parts
        ],
        "text": text,
        "reference": found.reference,
        "equal": equal,
        "warnings": found.warnings,
    }
