"""The events that the engine reports."""

import msgspec

from chatapp.protocol.values import (
    Answer,
    Buffers,
    Capability,
    CellRun,
    Device,
    Ghost,
    HostMemory,
    LayerSight,
    Memory,
    ModelFacts,
    Sight,
    Sinks,
    Threads,
    TurnStats,
)


class Event(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """Base of all events. `at_s` is Unix time; `turn` is the turn it belongs to, None outside one."""

    at_s: float
    turn: int | None = None


class Started(Event, frozen=True, kw_only=True):
    """The process has started; nothing is loaded."""

    pid: int
    llama_cpp_python: str
    llama_cpp: str
    system_info: str
    gpu_offload: bool
    devices: list[Device]
    reads: dict[str, Answer] = {}
    """Whether what is read beyond llama.cpp's interface is as expected: "functions", "tensors", "scheduler"."""


class LoadProgress(Event, frozen=True, kw_only=True):
    """The share of the weights that is loaded, 0 to 1."""

    fraction: float


class Calibrating(Event, frozen=True, kw_only=True):
    """The model's sinks are being measured: `done` tokens of `total` so far; where these do not decide it, more follow.
    Cancel ends the measurement, and the default is used.
    """

    done: int
    total: int


class Loaded(Event, frozen=True, kw_only=True):
    """The model is ready: its facts and what its cache can do."""

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
    """How many first tokens are kept, and why; None in a trace that does not say."""
    slides: list[bool] = []
    """For each layer, from first to last, whether it has a sliding window."""
    buffers: list[Buffers] = []
    """`measured` by device, the host first."""
    planned_buffers: list[Buffers] = []
    """`planned` by device, the host first; empty where a window is too long for a dry run."""


class Examined(Event, frozen=True, kw_only=True):
    """A model's facts and what it can do, without loading it. `largest_ctx` is the longest window that fits now."""

    model: ModelFacts
    slides: list[bool]
    """For each layer, from first to last, whether it has a sliding window."""
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
    """Tokens that were restored from a saved cache."""
    reused_tokens: int = 0
    """Tokens that were cached already."""


class Saved(Event, frozen=True, kw_only=True):
    """The cache is on disk."""

    path: str
    tokens: int
    size_bytes: int
    ms: float


class Tokenizing(Event, frozen=True, kw_only=True):
    """A text of so many characters is being tokenized, which takes a while and has no progress. Cancel stops it."""

    characters: int


class TurnStarted(Event, frozen=True, kw_only=True):
    """A turn begins, with `prompt_tokens` new tokens; `reused_tokens` are cached already."""

    prompt_tokens: int
    reused_tokens: int


class Prefilled(Event, frozen=True, kw_only=True):
    """`done` of `total` prompt tokens of this turn (or rebuild) are processed."""

    done: int
    total: int
    ms: float


class Evicted(Event, frozen=True, kw_only=True):
    """Tokens were evicted to free cells.

    `turns` were evicted whole; `partial_turn` lost only its oldest tokens (a turn longer than the window). Each pair of
    `removed` is a range of positions [p0, p1), numbered as before the eviction; later tokens were shifted
    (`renumbered`) or kept their positions. `ms` is the cost of the bookkeeping; the keys are rotated in the next
    decode, which took `next_decode_ms`.
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
    """Kept tokens that were processed again (the policies `rebuild`, and `slide` at its limit)."""
    why: str


class Text(Event, frozen=True, kw_only=True):
    """A piece of the reply: whole characters, with nothing missing between two of these events."""

    text: str
    """The answer's."""
    reasoning: str = ""
    """What the model thought before it answers, without the markers."""
    tokens: int
    """All of them, with those of markers."""


class TurnDone(Event, frozen=True, kw_only=True):
    """The reply has ended. `stop_reason` is "end", "length", "cancelled", "window_full" or "error"."""

    stop_reason: str
    stats: TurnStats
    seed: int | None
    tokens: bytes = b""
    """The ids of the reply's tokens, for Message.tokens when the conversation is opened again."""
    model: str = ""
    """The digest of the model that made them."""


class Pinned(Event, frozen=True, kw_only=True):
    """A turn was pinned or unpinned; `why` is set where the user did not ask for it.

    `tokens` are those of the turn, `kept_tokens` all that are never evicted: sinks and pinned turns.
    """

    pinned: bool
    tokens: int
    kept_tokens: int
    why: str = ""


class Replied(Event, frozen=True, kw_only=True):
    """The reply to prompt `number` (from 0) of Several. `stop_reason` is as in TurnDone.

    `mismatch` says how its ledger and llama.cpp's own positions disagreed after a step, as in Snapshot.
    """

    number: int
    text: str
    reasoning: str = ""
    prompt_tokens: int
    reply_tokens: int
    reasoning_tokens: int = 0
    evicted_tokens: int
    stop_reason: str
    ms: float
    mismatch: str | None = None


class SeveralDone(Event, frozen=True, kw_only=True):
    """All prompts that were started have their replies; `shared_tokens` of the system prompt were processed once."""

    shared_tokens: int
    ms: float


class Recalled(Event, frozen=True, kw_only=True):
    """Evicted turns were recalled, after everything else; they are evicted again as the newest turns are."""

    turns: list[int]
    tokens: int
    ms: float


class RecallForeseen(Event, frozen=True, kw_only=True):
    """Nothing was recalled: `tokens` would be, and `leaving` and the oldest tokens of `partial_turn` be evicted."""

    turns: list[int]
    tokens: int
    leaving: list[int]
    partial_turn: int | None


class Branched(Event, frozen=True, kw_only=True):
    """A branch was parked and another is in use; their first `shared_tokens` are cached once."""

    shared_tokens: int
    live_branches: int


class Released(Event, frozen=True, kw_only=True):
    """An inactive branch was dropped from the cache, which freed `tokens` cells. It can be processed again."""

    tokens: int
    live_branches: int
    why: str


class RolledBack(Event, frozen=True, kw_only=True):
    """The cache went back to position `to_pos`, by a cut, a rebuild (`rebuilt`) or from a checkpoint.

    `why` says what for, and which way.
    """

    tokens: int
    to_pos: int
    rebuilt: bool
    from_checkpoint: bool = False
    processed_tokens: int
    why: str
    ms: float


class Foreseen(Event, frozen=True, kw_only=True):
    """The forecast of sending the draft: its tokens, the free cells before it, and the turns that would be evicted."""

    id: int
    tokens: int
    free: int
    leaving: list[int]
    partly: bool
    """Some tokens of a turn would be evicted, or the draft would not fit."""
    partial_turn: int | None = None
    """The turn that would lose only its oldest tokens; the draft's own number where it is longer than the window."""
    seconds: float | None
    reprocessed: int = 0
    """Kept tokens that would be processed again: under `rebuild`, at the limit of `slide`, where a pruned SWA cache has
    lost tokens that its window would reach, and for a rebuild or an opening that was stopped."""


class Spelled(Event, frozen=True, kw_only=True):
    """The text of each token from position `pos` on; fewer than requested where the cache ends or has a gap.

    Incomplete characters become replacement characters; special tokens have their names.
    """

    pos: int
    tokens: list[int]
    pieces: list[str]


class Snapshot(Event, frozen=True, kw_only=True):
    """The cache at one moment; a newer one replaces an older one that was not drawn yet.

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
    """Cells that only parked branches use; `n_used` does not count them."""
    live_branches: int = 1
    checkpoint_bytes: int = 0
    pos_min: int | None
    pos_max: int | None
    mismatch: str | None
    resident_bytes: int | None
    devices: list[Device]
    host: HostMemory | None = None
    prompt_tok_s: float | None
    decode_tok_s: float | None
    threads: Threads | None = None
    """None where they make no difference: all layers are on a GPU."""


class Scored(Event, frozen=True, kw_only=True):
    """The text is scored up to its token `tokens`: perplexity and losses since the last such event."""

    tokens: int
    perplexity: float
    losses: list[float]
    """-ln p of each of them, in nats."""


class Measured(Event, frozen=True, kw_only=True):
    """The text is scored."""

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
    """A sample: what llama.cpp attended to when it decoded one token of the reply, at position `pos`.

    `runs` are the ledger's at that time, the token included. `mismatch` names a disagreement between the ledger and
    the positions in llama.cpp's cells. `ms` is the time of the probe without the decode.
    """

    pos: int
    runs: list[CellRun]
    sink_share: float
    """Attention on cached and learned sinks, mean over all heads and layers."""
    sights: list[Sight]
    layers: list[LayerSight]
    mismatch: str | None
    ms: float


class Warned(Event, frozen=True, kw_only=True):
    """Something that the user should know and that is not an error."""

    text: str


class Failed(Event, frozen=True, kw_only=True):
    """A command failed. `kind` is "user" (exit code 2), "model", "engine" or "build" (3: this build of llama.cpp is not
    supported). A Load fails with "model", whatever the reason.
    """

    kind: str
    what: str
    todo: str
