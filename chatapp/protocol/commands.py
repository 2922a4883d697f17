"""What the interface asks of the engine."""

import msgspec

from chatapp.protocol.values import CacheRequest, EngineSettings, Message, Sampling

SCORED_STEP_TOK = 512
"""Tokens of a text that one Scored stands for. `every` of Measure is at most as many, so that each has a value."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what the interface asks of the engine."""


class Load(Command, frozen=True, kw_only=True):
    """Load a model and make its cache. Answered by LoadProgress..., Calibrating..., then Loaded or Failed."""

    path: str
    cache: CacheRequest
    engine: EngineSettings
    strict_memory: bool = True
    """Refuse a window whose plan does not fit in memory."""
    scoring: bool = False
    """Reserve logits for every token of a batch: Measure needs them, a chat does not."""


class Examine(Command, frozen=True, kw_only=True):
    """Read a model's metadata only, but where sinks that are to be measured were not yet. Answered by LoadProgress...,
    Calibrating..., then Examined or Failed.
    """

    path: str
    cache: CacheRequest
    engine: EngineSettings


class Open(Command, frozen=True, kw_only=True):
    """Make the cache hold this conversation. Answered by Opened (with a rebuild's cost) or Failed.

    After Failed the cache is empty. The next command that needs the conversation opens it first, or is refused.

    What the cache holds already, of this conversation or of one with the same beginning, is used again.
    """

    system: str | None
    messages: list[Message]
    pinned: list[int] = []
    """Turns that never leave."""
    state: str | None = None
    """A file that Save wrote; where it fits it takes the place of processing the conversation again."""


class Save(Command, frozen=True, kw_only=True):
    """Write the cache to this file. Answered by Saved or Failed."""

    path: str


class Send(Command, frozen=True, kw_only=True):
    """Take the person's message of turn `turn` and reply. Answered by TurnStarted, Text..., TurnDone."""

    turn: int
    text: str
    sampling: Sampling


class Regenerate(Command, frozen=True, kw_only=True):
    """Drop the reply of the last turn and make another one. Answered as Send is."""

    turn: int
    sampling: Sampling


class Undo(Command, frozen=True, kw_only=True):
    """Drop the last turn from the cache and the conversation. Answered by RolledBack."""

    turn: int


class Pin(Command, frozen=True, kw_only=True):
    """Keep a turn for good, or no longer. Answered by Pinned, or by Failed where too little room would be left."""

    turn: int
    pinned: bool


class Recall(Command, frozen=True, kw_only=True):
    """Process evicted turns again, behind what is there. Answered by Prefilled..., then Recalled or Failed."""

    turns: list[int]


class Forecast(Command, frozen=True, kw_only=True):
    """Ask what would happen if `text` were sent now. Answered by Foreseen with the same `id`."""

    id: int
    text: str


class Measure(Command, frozen=True, kw_only=True):
    """Stream a plain text through the cache and score it. Answered by Scored..., then Measured."""

    text: str
    max_tokens: int | None
    every: int = 1
    """One token in so many is scored, 1 to SCORED_STEP_TOK; the text goes through the cache all the same."""
    recompute: bool = False
    """Predict each scored token from a fresh prefill of the window before it; the cache must be `dense`."""


class Probe(Command, frozen=True, kw_only=True):
    """Look into the decode of the next token of a reply, the one in progress or the next. Answered by Probed."""


class Spell(Command, frozen=True, kw_only=True):
    """Ask which tokens are at the positions from `pos` on, at most `n` of them. Answered by Spelled, in a reply too."""

    pos: int
    n: int = 1


class Several(Command, frozen=True, kw_only=True):
    """Reply to several prompts at once, each on its own. Answered by Replied for each one, then SeveralDone.

    As many run side by side as the cache has branches (`live_branches`). The conversation that was open is closed.
    """

    system: str | None
    prompts: list[str]
    sampling: Sampling


class Cancel(Command, frozen=True, kw_only=True):
    """Stop what is running within one token. The turn ends with stop_reason "cancelled"."""


class Shutdown(Command, frozen=True, kw_only=True):
    """End the process."""
