"""The commands of the interface to the engine."""

import msgspec

from chatapp.protocol.values import CacheRequest, EngineSettings, Message, Sampling

SCORED_STEP_TOK = 512
"""Tokens of a text that one Scored covers. `every` of Measure is at most as large, so that each has a value."""


class Command(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all commands."""


class Load(Command, frozen=True, kw_only=True):
    """Load a model and create its cache. Answered by LoadProgress..., Calibrating..., then Loaded or Failed."""

    path: str
    cache: CacheRequest
    engine: EngineSettings
    strict_memory: bool = True
    """Refuse a window whose memory plan does not fit."""
    scoring: bool = False
    """Reserve logits for every token of a batch, for Measure; a chat does not need them."""


class Examine(Command, frozen=True, kw_only=True):
    """Read a model's metadata; load it only to measure its sinks. Answered by LoadProgress..., Calibrating..., then
    Examined or Failed.
    """

    path: str
    cache: CacheRequest
    engine: EngineSettings


class Open(Command, frozen=True, kw_only=True):
    """Make the cache hold this conversation. Answered by Opened (with a rebuild's cost) or Failed.

    After Failed the cache is empty. The next command that needs the conversation opens it first, or is refused.

    What the cache holds already, of this conversation or of one with the same beginning, is reused.
    """

    system: str | None
    messages: list[Message]
    pinned: list[int] = []
    """Turns that are never evicted."""
    state: str | None = None
    """A file that Save wrote; where it matches, the conversation is restored from it instead of being processed."""


class Save(Command, frozen=True, kw_only=True):
    """Write the cache to a file. Answered by Saved or Failed."""

    path: str


class Send(Command, frozen=True, kw_only=True):
    """Reply to the user's message of turn `turn`. Answered by TurnStarted, Text..., TurnDone."""

    turn: int
    text: str
    sampling: Sampling


class Regenerate(Command, frozen=True, kw_only=True):
    """Drop the reply of the last turn and generate another. Answered like Send."""

    turn: int
    sampling: Sampling


class Undo(Command, frozen=True, kw_only=True):
    """Remove the last turn from the cache and the conversation. Answered by RolledBack."""

    turn: int


class Pin(Command, frozen=True, kw_only=True):
    """Pin or unpin a turn. Answered by Pinned, or by Failed where too few cells would stay free."""

    turn: int
    pinned: bool


class Recall(Command, frozen=True, kw_only=True):
    """Process evicted turns again, after everything else. Answered by Prefilled..., then Recalled or Failed; by
    RecallForeseen, with nothing changed, where other tokens would be evicted for them and that is not agreed.
    """

    turns: list[int]
    agreed: bool = True
    """Evict other tokens for them."""


class Forecast(Command, frozen=True, kw_only=True):
    """Ask what would happen if `text` were sent now. Answered by Foreseen with the same `id`."""

    id: int
    text: str


class Measure(Command, frozen=True, kw_only=True):
    """Stream a plain text through the cache and score it. Answered by Scored..., then Measured."""

    text: str
    max_tokens: int | None
    every: int = 1
    """Every how many tokens one is scored, 1 to SCORED_STEP_TOK; all of the text goes through the cache."""
    recompute: bool = False
    """Predict each scored token from a fresh prefill of the window before it; the cache must be `dense`."""


class Probe(Command, frozen=True, kw_only=True):
    """Sample the decode of the next token of a reply, in progress or the next one. Answered by Probed."""


class Spell(Command, frozen=True, kw_only=True):
    """Ask for the tokens at the positions from `pos` on, at most `n`. Answered by Spelled, even during a reply."""

    pos: int
    n: int = 1


class ShowWindow(Command, frozen=True, kw_only=True):
    """Ask for the text of the window. Answered by WindowShown, even during a reply."""


class RenderPrompt(Command, frozen=True, kw_only=True):
    """Ask what would be cached after these messages; nothing is loaded but a vocabulary. Answered by PromptRendered or
    Failed.
    """

    path: str | None
    """The model; None: there is no vocabulary, and what looks like a special token in the template is taken for one."""
    engine: EngineSettings
    """Which chat template, with what it is given."""
    system: str | None
    messages: list[Message]
    reference: bool = False
    bos: str = "<s>"
    """How BOS and EOS are spelled where there is no vocabulary."""
    eos: str = "</s>"


class Several(Command, frozen=True, kw_only=True):
    """Reply to several prompts at once, independently. Answered by Replied for each one, then SeveralDone.

    As many run at once as the cache has branches (`live_branches`). The open conversation is closed.
    """

    system: str | None
    prompts: list[str]
    sampling: Sampling


class Cancel(Command, frozen=True, kw_only=True):
    """Stop the work in progress within one token. A turn ends with stop_reason "cancelled"."""


class AnswerNow(Command, frozen=True, kw_only=True):
    """End the thought of the reply in progress, so that the answer begins. Without effect where it does not think."""


class Shutdown(Command, frozen=True, kw_only=True):
    """End the process."""
