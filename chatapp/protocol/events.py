"""What the engine reports."""

import msgspec

from chatapp.protocol.values import (
    Answer,
    Buffers,
    Capability,
    CellRun,
    Device,
    Ghost,
    Host,
    LayerSight,
    Memory,
    ModelFacts,
    Sight,
    Sinks,
    TurnStats,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of what the engine reports. `at_s` is Unix time; `turn` is the turn it belongs to, None outside one."""

    at_s: float
    turn: int | None = None


class Started(Event, frozen=True, kw_only=True):
    """The process is up; nothing is loaded."""

    pid: int
    llama_cpp_python: str
    llama_cpp: str
    system_info: str
    gpu_offload: bool
    devices: list[Device]
    reads: dict[str, Answer] = {}
    """Whether what is read of llama.cpp beside its interface is as expected: "functions", "tensors", "scheduler"."""


class LoadProgress(Event, frozen=True, kw_only=True):
    """Share of the weights that is loaded, 0 to 1."""

    fraction: float


class Calibrating(Event, frozen=True, kw_only=True):
    """The model's sinks are being measured: `done` tokens of `total`, as far as is known yet; where these do not decide
    it, more follow. Cancel ends the measurement, and the default holds.
    """

    done: int
    total: int


class Loaded(Event, frozen=True, kw_only=True):
    """The model is ready, and this is what it is and what its cache can do."""

    model: ModelFacts
    capability: Capability
    n_ctx: int
    """Cells of the global cache: the window. llama.cpp pads what was asked for to a multiple of 256."""
    n_ctx_swa: int | None
    policy: str
    planned: Memory
    measured: Memory
    on_gpu: bool
    """True when at least one layer is offloaded."""
    load_s: float
    warnings: list[str]
    sinks: Sinks | None = None
    """None from an engine without a model (the scripted one)."""
    slides: list[bool] = []
    """For each layer, from first to last, whether its window slides."""
    buffers: list[Buffers] = []
    """`measured` by device, the host first."""
    planned_buffers: list[Buffers] = []
    """`planned` by device, the host first; empty where a window is too long to rehearse."""


class Examined(Event, frozen=True, kw_only=True):
    """What a model is and could do, without loading it. `largest_ctx` is the longest window that fits in memory now."""

    model: ModelFacts
    slides: list[bool]
    """For each layer, from first to last, whether its window slides."""
    capability: Capability
    sinks: Sinks
    n_ctx: int
    planned: Memory
    largest_ctx: int
    free_bytes: int


class Opened(Event, frozen=True, kw_only=True):
    """The cache holds the conversation, or its sinks and most recent turns."""

    n_sink: int
    processed_tokens: int
    in_window_turns: int
    evicted_turns: int
    ms: float
    why: str
    restored_tokens: int = 0
    """Tokens that came from a saved cache."""
    reused_tokens: int = 0
    """Tokens that were in the cache already."""


class Saved(Event, frozen=True, kw_only=True):
    """The cache is on disk."""

    path: str
    tokens: int
    size_bytes: int
    ms: float


class TurnStarted(Event, frozen=True, kw_only=True):
    """A turn begins: this many tokens are new, this many are reused."""

    prompt_tokens: int
    reused_tokens: int


class Prefilled(Event, frozen=True, kw_only=True):
    """`done` of `total` prompt tokens of this turn (or rebuild) went through the model."""

    done: int
    total: int
    ms: float


class Evicted(Event, frozen=True, kw_only=True):
    """Tokens left the cache to make room.

    `turns` are the turns that left wholly; `partial_turn` the one that lost its oldest tokens only (a turn longer than
    the window). Positions [p0, p1) left, for each pair of `removed`, in the numbering before the eviction; those
    behind moved down (`renumbered`) or kept their positions. `ms` is the cost of the bookkeeping; the rotation of the
    keys happens inside the next decode, which took `next_decode_ms`.
    """

    policy: str
    tokens: int
    turns: list[int]
    partial_turn: int | None
    removed: list[tuple[int, int]]
    renumbered: bool
    ms: float
    next_decode_ms: float
    reprocessed_tokens: int = 0
    """Tokens that stayed and were processed again (the policies `rebuild`, and `slide` at its limit)."""
    why: str


class Text(Event, frozen=True, kw_only=True):
    """A piece of the reply: whole characters, as the model produced them, nothing lost between two of these."""

    text: str
    tokens: int


class TurnDone(Event, frozen=True, kw_only=True):
    """The reply has ended. `stop_reason` is "end", "length", "cancelled", "window_full" or "error"."""

    stop_reason: str
    stats: TurnStats
    seed: int | None


class Pinned(Event, frozen=True, kw_only=True):
    """A turn is kept for good from now on (`pinned`), or no longer; `why` where nobody asked for that.

    `tokens` are those of the turn, `kept_tokens` all that never leave: sinks and pinned turns.
    """

    pinned: bool
    tokens: int
    kept_tokens: int
    why: str = ""


class Replied(Event, frozen=True, kw_only=True):
    """The reply to prompt `number` (from 0) of Several. `stop_reason` is as in TurnDone.

    `mismatch` says how its ledger and llama.cpp's own positions disagreed behind a step, as in Snapshot.
    """

    number: int
    text: str
    prompt_tokens: int
    reply_tokens: int
    evicted_tokens: int
    stop_reason: str
    ms: float
    mismatch: str | None = None


class SeveralDone(Event, frozen=True, kw_only=True):
    """All prompts that were begun have their replies; `shared_tokens` of the system prompt were processed once."""

    shared_tokens: int
    ms: float


class Recalled(Event, frozen=True, kw_only=True):
    """Evicted turns are in the window again, behind everything else; they leave like the newest ones."""

    turns: list[int]
    tokens: int
    ms: float


class Branched(Event, frozen=True, kw_only=True):
    """Two branches of the conversation are in the cache now, and hold their first `shared_tokens` once."""

    shared_tokens: int
    live_branches: int


class Released(Event, frozen=True, kw_only=True):
    """A branch that was not in use left the cache; `tokens` cells became free. It can be processed again."""

    tokens: int
    live_branches: int
    why: str


class RolledBack(Event, frozen=True, kw_only=True):
    """The cache was cut back to `to_pos`.

    `rebuilt` says that it had to be made again, `from_checkpoint` that what was gone came from memory; `why` in words.
    """

    tokens: int
    to_pos: int
    rebuilt: bool
    from_checkpoint: bool = False
    processed_tokens: int
    why: str
    ms: float


class Foreseen(Event, frozen=True, kw_only=True):
    """What sending the draft would do: its tokens, the free cells before it, and the turns that would leave."""

    id: int
    tokens: int
    free: int
    leaving: list[int]
    partly: bool
    seconds: float | None
    reprocessed: int = 0
    """Tokens that stay and would be processed again: under `rebuild`, at the limit of `slide`, where a pruned window
    has lost what it would reach to, and what a stop has left undone."""


class Spelled(Event, frozen=True, kw_only=True):
    """The text of each token from position `pos` on; fewer than were asked for where the cache ends, or has a gap.

    Bytes that are no whole character are replacement characters; special tokens have their names.
    """

    pos: int
    tokens: list[int]
    pieces: list[str]


class Snapshot(Event, frozen=True, kw_only=True):
    """The cache as it stands; a newer one replaces an older one that was not drawn yet.

    `runs` come from the ledger; `pos_min` and `pos_max` from llama.cpp (of the SWA cells, in a hybrid), None when the
    cache is empty. `mismatch` names any disagreement between the two.
    """

    runs: list[CellRun]
    ghosts: list[Ghost]
    """The most recent ones; `evicted_tokens` and `evicted_turns` count all."""
    evicted_tokens: int
    evicted_turns: int
    shifts: int
    n_ctx: int
    n_ctx_swa: int | None
    n_swa: int | None
    n_sink: int
    n_used: int
    n_elsewhere: int = 0
    """Cells that only other branches hold; `n_used` does not count them."""
    live_branches: int = 1
    checkpoint_bytes: int = 0
    pos_min: int | None
    pos_max: int | None
    mismatch: str | None
    resident_bytes: int | None
    devices: list[Device]
    host: Host | None = None
    prompt_tok_s: float | None
    decode_tok_s: float | None


class Scored(Event, frozen=True, kw_only=True):
    """The text is scored up to its token `tokens`: perplexity and losses of what was scored since the last one."""

    tokens: int
    perplexity: float
    losses: list[float]
    """-ln p of each of them, in nats."""


class Measured(Event, frozen=True, kw_only=True):
    """The whole stream is scored."""

    perplexity: float
    tokens: int
    every: int
    shifts: int
    evicted_tokens: int
    tok_s: float
    n_ctx: int
    n_sink: int
    policy: str
    curve: list[float]
    stop_reason: str


class Probed(Event, frozen=True, kw_only=True):
    """What llama.cpp attended to when it processed one token of the reply, at position `pos`: read, not worked out.

    `runs` are the ledger's when it did, the token among them. `mismatch` names a disagreement between the ledger and
    the positions that llama.cpp's cells hold. `ms` is what the looking took, the decode itself left out.
    """

    pos: int
    runs: list[CellRun]
    sink_share: float
    """Attention on kept and learned sinks, mean over all heads and layers."""
    sights: list[Sight]
    layers: list[LayerSight]
    mismatch: str | None
    ms: float


class Warned(Event, frozen=True, kw_only=True):
    """Something a person should know that is no error."""

    text: str


class Failed(Event, frozen=True, kw_only=True):
    """A command could not be done. `kind` is "user" (exit code 2), "model", "engine" or "build" (3): llama.cpp is
    another one than this program knows.
    """

    kind: str
    what: str
    todo: str
