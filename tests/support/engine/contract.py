"""The same commands for two engines, and what of their events must be equal."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from unittest.mock import patch

import msgspec

from chatapp.engine.client import Engine, EngineClient
from chatapp.protocol.codec import AnyEvent, encode
from chatapp.protocol.commands import (
    Cancel,
    Command,
    Forecast,
    Load,
    Measure,
    Open,
    Pin,
    Probe,
    Recall,
    Regenerate,
    Save,
    Send,
    Several,
    ShowWindow,
    Spell,
    Undo,
)
from chatapp.protocol.events import (
    Event,
    Failed,
    Foreseen,
    Loaded,
    LoadProgress,
    Measured,
    Opened,
    Pinned,
    Probed,
    Recalled,
    Saved,
    SeveralDone,
    Snapshot,
    Spelled,
    Text,
    TurnDone,
)
from chatapp.protocol.window_text import WindowShown

ENDS: Final[dict[type[Command], type[Event]]] = {
    Load: Loaded,
    Open: Opened,
    Save: Saved,
    Send: TurnDone,
    Regenerate: TurnDone,
    Undo: Snapshot,
    Pin: Pinned,
    Recall: Recalled,
    Several: SeveralDone,
    Forecast: Foreseen,
    Measure: Measured,
    Spell: Spelled,
    ShowWindow: WindowShown,
}
"""The event that says that a command was done, where it is not Failed. A snapshot may follow."""
FULL_STOP: Final = Spell(pos=0, n=0)
"""Asked after each command: its answer comes when everything else was told."""
BUSY: Final = Forecast(id=0, text="a " * 5000)
"""Keeps an engine busy for some milliseconds, and cannot be cancelled."""
TIMED: Final = {
    "ms", "next_decode_ms", "seconds", "ttft_s", "prompt_tok_s", "decode_tok_s", "load_s", "size_bytes",
    "template", "prefill", "sample", "decode", "probe",
}  # fmt: skip
"""Fields that a machine decides: equal are whether they are known."""
MACHINE: Final = {"at_s", "devices", "host", "resident_bytes"}
"""Fields that only a real machine has something to say in."""
INNER: Final = {"stats", "stages"}
"""Fields that hold values with fields of their own."""
COUNTED: Final[dict[type[Event], tuple[str, ...]]] = {
    Loaded: ("n_ctx", "n_ctx_swa", "policy"),
    Probed: ("turn", "mismatch"),
}
"""Of events that are about a model: the fields that are not."""


@dataclass(frozen=True)
class Step:
    """A command, and when it is cancelled: "" never, "at once", or "in the reply"."""

    command: Command
    cancel: str = ""
    look: bool = False
    """Probe comes with it."""


async def done(
    engine: Engine,
    events: AsyncIterator[AnyEvent],
    step: Step,
    *,
    at_token: int = 1,
    go_on: Callable[[], None] = lambda: None,
) -> list[AnyEvent]:
    """All events of one step. Where it is cancelled in the reply, or else `go_on` called, `at_token` of its tokens have
    been told.
    """
    told: list[AnyEvent] = []
    if step.look:
        engine.post(Probe())
    if step.cancel == "at once":
        _post_together(engine, BUSY, step.command, Cancel())
        told.append(await anext(events))
    else:
        engine.post(step.command)
    n_tokens, reached, end = 0, False, ENDS[type(step.command)]
    async for event in events:
        told.append(event)
        if isinstance(event, Text):
            n_tokens += event.tokens
            if n_tokens >= at_token and not reached:
                reached = True
                if step.cancel == "in the reply":
                    engine.post(Cancel())
                else:
                    go_on()
        if isinstance(event, end | Failed):
            break
    engine.post(FULL_STOP)
    async for event in events:
        if isinstance(event, Spelled | Failed):
            break
        told.append(event)
    return told


def _post_together(engine: Engine, *commands: Command) -> None:
    """In one write, so that none is begun before the last one has come."""
    frames = b"".join(map(encode, commands))
    if isinstance(engine, EngineClient):
        with patch("chatapp.engine.client.encode", return_value=frames):
            engine.post(commands[0])
    else:
        for command in commands:
            engine.post(command)


def normal(told: Sequence[AnyEvent]) -> list[tuple[Any, ...]]:
    """What must be equal, event by event. The text of a turn is one event, where its first piece was; a snapshot counts
    where it is the last event, or stands before the last one: others are a matter of time, as are looks at the weights
    that are being loaded.
    """
    lines: list[tuple[Any, ...]] = []
    text_at: int | None = None
    for i, event in enumerate(told):
        match event:
            case LoadProgress():
                continue
            case Snapshot() if not _counts(told[i + 1 :]):
                continue
            case Text() if text_at is not None:
                kind, turn, text, tokens = lines[text_at]
                lines[text_at] = (kind, turn, text + event.text, tokens + event.tokens)
            case Text():
                text_at = len(lines)
                lines.append(("Text", event.turn, event.text, event.tokens))
            case _:
                lines.append((type(event).__name__, _fields(event)))
    return lines


def _counts(after: Sequence[AnyEvent]) -> bool:
    """Whether a snapshot with these events after it is told in any case."""
    return not after or isinstance(after[0], TurnDone | Failed)


def _fields(event: AnyEvent) -> dict[str, Any]:
    if isinstance(event, Spelled):
        return {"pos": event.pos, "n": len(event.tokens)}
    fields: dict[str, Any] = msgspec.to_builtins(event)
    if isinstance(event, TurnDone):  # other vocabularies, and other files
        fields |= {"tokens": len(event.tokens), "model": bool(event.model)}
    if isinstance(event, WindowShown):
        for part in [*fields["parts"], *([fields["pending"]] if event.pending is not None else [])]:
            del part["pieces"], part["lost_at"]
    only = COUNTED.get(type(event))
    return _plain(fields) if only is None else {name: fields.get(name) for name in only}


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, and those of the value in a field, without what a machine decides."""
    plain: dict[str, Any] = {}
    for name, value in fields.items():
        if name in INNER and value is not None:
            plain[name] = _plain(value)
        elif name not in MACHINE:
            plain[name] = value is not None if name in TIMED else value
    return plain
