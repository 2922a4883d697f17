"""What crosses the pipe between the interface and the engine: commands one way, events the other.

Every message is a msgspec struct, framed as a 4-byte little-endian length and a MessagePack body, and tagged with its
class name, so that a trace (chatapp.replay.lines: the same as JSON) can be read without this module. A field with a
unit has it in its name; an unknown value is None, never a guess.

Turns are numbered from 1 within a conversation: turn k is the user's k-th message and the reply to it. Turn 0 is
what comes before the first turn: BOS and the system prompt.
"""

from typing import Any

import msgspec

from chatapp.protocol.commands import (
    AnswerNow,
    Cancel,
    Command,
    Examine,
    Forecast,
    Load,
    Measure,
    Open,
    Pin,
    Probe,
    Recall,
    Regenerate,
    RenderPrompt,
    Save,
    Send,
    Several,
    ShowWindow,
    Shutdown,
    Spell,
    Undo,
)
from chatapp.protocol.events import (
    Branched,
    Calibrating,
    Event,
    Evicted,
    Examined,
    Failed,
    Foreseen,
    Loaded,
    LoadProgress,
    Measured,
    Opened,
    Pinned,
    Prefilled,
    Probed,
    Recalled,
    RecallForeseen,
    Released,
    Replied,
    RolledBack,
    Saved,
    Scored,
    SeveralDone,
    Snapshot,
    Spelled,
    Started,
    Text,
    Tokenizing,
    TurnDone,
    TurnStarted,
    Warned,
)
from chatapp.protocol.window_text import PromptRendered, WindowShown

AnyCommand = (
    Load
    | Examine
    | Open
    | Save
    | Send
    | Regenerate
    | Undo
    | Pin
    | Recall
    | Forecast
    | Measure
    | Probe
    | Spell
    | ShowWindow
    | RenderPrompt
    | Several
    | AnswerNow
    | Cancel
    | Shutdown
)
AnyEvent = (
    Started
    | LoadProgress
    | Calibrating
    | Loaded
    | Examined
    | Opened
    | Saved
    | TurnStarted
    | Prefilled
    | Evicted
    | Text
    | Tokenizing
    | TurnDone
    | RolledBack
    | Pinned
    | Recalled
    | RecallForeseen
    | Replied
    | SeveralDone
    | Branched
    | Released
    | Foreseen
    | Spelled
    | WindowShown
    | PromptRendered
    | Snapshot
    | Scored
    | Measured
    | Probed
    | Warned
    | Failed
)

_encoder = msgspec.msgpack.Encoder()
_commands: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(AnyCommand)
_events: msgspec.msgpack.Decoder[Any] = msgspec.msgpack.Decoder(AnyEvent)


def encode(message: Command | Event) -> bytes:
    """One frame: 4 bytes of length, little-endian, then the MessagePack body."""
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "little") + body


def decode_command(body: bytes) -> AnyCommand:
    """The command in a frame's body; msgspec.ValidationError where it is invalid."""
    return _commands.decode(body)


def decode_event(body: bytes) -> AnyEvent:
    """The event in a frame's body; msgspec.ValidationError where it is invalid."""
    return _events.decode(body)
