"""Exporting a conversation: as data, with every branch, or as readable Markdown."""

import re
import time
from typing import Any

from chatapp.store.rows import SessionInfo, StoredMessage

FORMAT_VERSION = 1
"""Incremented when a field changes its meaning or is removed, not when one is added."""

_SPEAKERS = {"user": "You", "assistant": "Assistant"}


_NOT_EXPORTED = ("tokens", "model")
"""Numbers of one model's vocabulary: the text says the same to everybody else."""


def to_dict(info: SessionInfo, messages: list[StoredMessage], *, reasoning: bool = False) -> dict[str, Any]:
    """Everything, fit for json.dumps; `docs/reference/sessions.md` describes the fields."""
    without = _NOT_EXPORTED if reasoning else (*_NOT_EXPORTED, "reasoning")
    return {
        "format": "swachat-conversation",
        "version": FORMAT_VERSION,
        "session": dict(vars(info)),
        "messages": [
            {name: value for name, value in vars(message).items() if name not in without} for message in messages
        ],
    }


def to_markdown(info: SessionInfo, path: list[StoredMessage], *, reasoning: bool = False) -> str:
    """The messages of `path` under one heading each, their text unchanged; times are in UTC.

    With `reasoning` a quotation before each answer has what the model thought.
    """
    begun = "?" if info.created_at is None else time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(info.created_at))
    title = info.name or info.title or f"Conversation {info.id}"
    parts = [f"# {title}", f"Model: {info.model}  \nStarted: {begun}"]
    if info.system:
        parts += ["## System", info.system]
    for message in path:
        notes = [message.state] if message.state != "done" else []
        if message.damage:
            notes.append(f"damaged: {', '.join(message.damage)}")
        note = f" ({'; '.join(notes)})" if notes else ""
        parts.append(f"## {message.turn}. {_SPEAKERS[message.role]}{note}")
        if reasoning and message.reasoning:
            parts.append(_quoted(message.reasoning))
        parts.append(message.text)
    return "\n\n".join(parts) + "\n"


def _quoted(reasoning: str) -> str:
    """Thoughts as a quotation.

    >>> print(_quoted("Is it so?\\n\\nIt is.\\n"))
    > **Thoughts**
    >
    > Is it so?
    >
    > It is.
    """
    lines = ("**Thoughts**", "", *re.split(r"\r\n?|\n", reasoning.strip("\r\n")))
    return "\n".join(f"> {line}".rstrip() for line in lines)
