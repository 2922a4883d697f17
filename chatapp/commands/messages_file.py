"""The messages of a conversation in JSON, as other programs write them, read for `swachat prompt`."""

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from chatapp.errors import UserError

if TYPE_CHECKING:
    from chatapp.protocol.values import Message

SHAPE = 'Write a list of {"role": "user", "content": "…"}, with the roles system, user and assistant.'


@dataclass(frozen=True, slots=True)
class Conversation:
    """What the file says. Every turn but the last has a reply."""

    system: str | None
    messages: "list[Message]"


def parse(data: bytes, name: str) -> Conversation:
    """The conversation in `data`: a list of messages, or an object with the list as "messages".

    UserError, with `name`, the message's number and the key, where it is none.
    """
    try:
        found: Any = json.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{name} is not valid UTF-8 (byte {error.start}).", "Convert it to UTF-8.") from error
    except ValueError as error:
        raise UserError(f"{name} is not valid JSON: {error}.", SHAPE) from error
    except RecursionError as error:
        raise UserError(f"{name} is nested too deeply.", SHAPE) from error
    if isinstance(found, dict):
        found = cast("dict[str, Any]", found).get("messages")
        if found is None:
            raise UserError(f'{name} is an object without "messages".', SHAPE)
    if not isinstance(found, list):
        raise UserError(f"{name} has no list of messages.", SHAPE)
    return _conversation(
        [_row(item, f"{name}: message {i}") for i, item in enumerate(cast("list[Any]", found), 1)], name
    )


def _row(item: Any, where: str) -> tuple[str, str]:
    """The role and the text of one message."""
    if not isinstance(item, dict):
        raise UserError(f"{where} is not an object.", SHAPE)
    item = cast("dict[str, Any]", item)
    for key in ("role", "content"):
        if key not in item:
            raise UserError(f'{where} has no "{key}".', SHAPE)
    role = item["role"]
    if role not in ("system", "user", "assistant"):
        raise UserError(f'{where}: "role" is {json.dumps(role)}.', "Use system, user or assistant.")
    return role, _text(item["content"], where)


def _text(content: Any, where: str) -> str:
    """The text of a message, or of its parts."""
    if isinstance(content, list):
        texts: list[str] = []
        for i, part in enumerate(cast("list[Any]", content), 1):
            fields = cast("dict[str, Any]", part) if isinstance(part, dict) else {}
            text = fields.get("text")
            if fields.get("type") != "text" or not isinstance(text, str):
                raise UserError(
                    f'{where}: part {i} of "content" is no text.', 'Use {"type": "text", "text": "…"} parts.'
                )
            texts.append(text)
        content = "".join(texts)
    if not isinstance(content, str):
        raise UserError(f'{where}: "content" is not a string.', "Give the text of the message.")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f'{where}: "content" has half of a surrogate pair, at character {error.start + 1}.', "Fix the escape."
        ) from error
    return content


def _conversation(rows: list[tuple[str, str]], name: str) -> Conversation:
    """The rows by turn. UserError where they do not take turns."""
    from chatapp.protocol.values import Message

    system: str | None = None
    messages: list[Message] = []
    for i, (role, text) in enumerate(rows, 1):
        if role == "system":
            if i > 1:
                raise UserError(f"{name}: message {i} is a system prompt, which can only be the first.", "Move it.")
            system = text
            continue
        due = "assistant" if messages and messages[-1].role == "user" else "user"
        if role != due:
            raise UserError(
                f'{name}: message {i}: "role" is "{role}" where "{due}" is due.',
                "User and assistant take turns, and the user begins.",
            )
        messages.append(Message(turn=len(messages) // 2 + 1, role=role, text=text))
    if not messages:
        raise UserError(f"{name} has no message of a user.", SHAPE)
    return Conversation(system, messages)
