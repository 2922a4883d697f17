"""The lines of a trace file: every event of the engine as JSON, and what is not in the events.

A trace of format 1 begins with a `Trace`. Commands to the engine are recorded as `Posted`, the unexpected end of an
engine as `Ended`. A trace without any of these, as older versions wrote it, can be read too. Each line has its `type`
first, and `at_s`, the Unix time.
"""

from typing import Any

import msgspec

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.commands import (
    Cancel,
    Load,
    Open,
    Pin,
    Recall,
    Regenerate,
    Send,
    Several,
    Undo,
)

FORMAT = 1

AnyKept = Load | Open | Send | Regenerate | Undo | Pin | Recall | Several | Cancel
"""The commands that a trace records: those that change the conversation or the cache.

Not the drafts of a Forecast, which were never sent, and not the text of a Measure, which is a file of its own.
"""
KEPT = (Load, Open, Send, Regenerate, Undo, Pin, Recall, Several, Cancel)


class Line(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of the lines that are not events."""

    at_s: float


class Trace(Line, frozen=True, kw_only=True):
    """The first line. `swachat` is the version that wrote it."""

    format: int
    swachat: str


class Posted(Line, frozen=True, kw_only=True):
    """The engine was given this command."""

    command: AnyKept


class Ended(Line, frozen=True, kw_only=True):
    """The engine has ended unexpectedly; `why` in one sentence."""

    why: str


AnyLine = AnyEvent | Trace | Posted | Ended
OWN = (Trace, Posted, Ended)

_encoder = msgspec.json.Encoder()
_lines: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyLine)


def encode(line: AnyLine) -> bytes:
    """One line, including its line feed."""
    return _encoder.encode(line) + b"\n"


def decode(line: bytes) -> AnyLine:
    """A line, decoded; msgspec.DecodeError where it is invalid."""
    return _lines.decode(line)
