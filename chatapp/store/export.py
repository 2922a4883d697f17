"""Exporting a conversation: as data, with every branch, or as readable Markdown."""

import time
from typing import Any

from chatapp.store.rows import SessionInfo, StoredMessage

FORMAT_VERSION = 1
"""Incremented when a field changes its meaning or is removed, not when one is added."""

_SPEAKERS = {"user": "You", "assistant": "Assistant"}


def to_dict(info: SessionInfo, messages: list[StoredMessage]) -> dict[str, Any]:
    """Everything, fit for json.dumps; `docs/reference/sessions.md` describes the fields."""
    return {
        "format": "swachat-conversation",
        "version": FORMAT_VERSION,
        "session": dict(vars(info)),
        "messages": [dict(vars(message)) for message in messages],
    }


def to_markdown(info: SessionInfo, path: list[StoredMessage]) -> str:
    """The messages of `path` under one heading each, their text unchanged; times are in UTC."""
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
        parts += [f"## {message.turn}. {_SPEAKERS[message.role]}{note}", message.text]
    return "\n\n".join(parts) + "\n"
