"""What crosses the pipe between the interface and the engine: commands one way, events the other.

Every message is a msgspec struct, framed as a 4-byte little-endian length and a MessagePack body, and tagged with its
class name, so that a trace file (chatapp.replay.lines: the same as JSON) reads without this module. Fields with a unit
carry it in their name; a field that is not known is None, never a guess.

Turns are numbered from 1 within a conversation: turn k is the person's k-th message and the reply to it. Turn 0 is
what comes before the first turn: BOS and the system prompt.
"""

from typing import Any

import msgspec

SCORED_STEP_TOK = 512
"""Tokens of a text that one Scored stands for. `every` of Measure is at most as many, so that each has a value."""

# --------------------------------------------------------------------------- values


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all plain values below."""


class CacheRequest(Wire, frozen=True, kw_only=True):
    """How the KV cache is to be made and managed: the `cache` section of the config. None leaves it to the engine."""

    n_ctx: int | None = 4096
    """None: the largest window that fits in memory, and no larger than the model was trained for."""
    sinks: int | None = 4
    """First tokens that never leave. None: as few as the model needs, measured."""
    policy: str = "auto"
    evict_share: float = 0.125
    swa_full: bool = False
    type_k: str = "f16"
    type_v: str = "f16"
    micro_batch: int = 256
    live_branches: int | None = None
    """Branches of the conversation that stay in the cache side by side; None: two where that costs no memory."""
    checkpoint_mib: int = 64
    """Host memory for the states that an undo or another reply goes back to where the cache itself cannot."""


class CacheSettings(CacheRequest, frozen=True, kw_only=True):
    """A request with nothing left open."""

    n_ctx: int = 4096
    sinks: int = 4


class EngineSettings(Wire, frozen=True, kw_only=True):
    """Where and how llama.cpp runs; the `engine` section of the config, resolved."""

    gpu_layers: int = -1
    threads: int | None = None
    flash_attention: str = "auto"
    probe_every: int | None = 0
    """None leaves it to the engine."""
    probe_always: bool = False


class Sampling(Wire, frozen=True, kw_only=True):
    """How the next token is chosen. `temperature` 0 is greedy; `seed` None draws a new one for each reply."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    seed: int | None = None
    max_tokens: int | None = None


class Message(Wire, frozen=True, kw_only=True):
    """One stored message of the conversation, as text. `role` is "user" or "assistant".

    A reply that was stopped before its first token is none, and does not belong here; one that the model ended there is
    empty, and does.
    """

    turn: int
    role: str
    text: str


class Device(Wire, frozen=True, kw_only=True):
    """One backend device as ggml lists it. `kind` is "cpu", "gpu", "igpu" or "accel"."""

    name: str
    description: str
    kind: str
    total_bytes: int | None
    free_bytes: int | None


class Memory(Wire, frozen=True, kw_only=True):
    """Bytes by component. For a plan every field is computed; measured fields are read from llama.cpp's load log."""

    weights_bytes: int | None = None
    kv_bytes: int | None = None
    """KV cells of the global (full attention) layers."""
    kv_swa_bytes: int | None = None
    """KV cells of the sliding window layers; None where the model has none."""
    compute_bytes: int | None = None


class Buffers(Wire, frozen=True, kw_only=True):
    """What llama.cpp allocated on one device, by the name that ggml gives it; the host is "CPU"."""

    device: str
    memory: Memory


class Host(Wire, frozen=True, kw_only=True):
    """The host's memory as far as it is the engine's to take, at most a second old."""

    available_bytes: int
    """What can be taken without swapping, and without meeting a limit of a control group around the process."""
    limit_bytes: int
    """What the machine has, or the narrowest of these limits."""
    swap_used_bytes: int | None = None
    """Of the whole machine."""
    swapped_bytes: int | None = None
    """Of the engine's process; None where the system does not tell."""
    private_bytes: int | None = None
    """The engine's resident memory less what is mapped from files, which the system can drop and read again."""


class ModelFacts(Wire, frozen=True, kw_only=True):
    """What the GGUF says of the model; None where it says nothing."""

    path: str
    name: str | None
    architecture: str
    size_bytes: int
    n_params: int | None
    n_layer: int
    n_head: int | None
    n_head_kv: int | None
    head_dim: int | None
    n_embd: int
    n_vocab: int
    n_ctx_train: int
    n_swa: int | None
    """Width of the sliding window, the token itself included; None where no layer slides."""
    n_layer_swa: int
    rope_scaling: str | None
    rope_factor: float | None
    learned_sinks: bool
    n_expert: int | None
    n_expert_used: int | None
    has_chat_template: bool
    quantization: str | None


class Answer(Wire, frozen=True, kw_only=True):
    """One capability: yes, or no with the reason in one sentence."""

    ok: bool
    why: str = ""


class Capability(Wire, frozen=True, kw_only=True):
    """What this model with these cache settings can do."""

    evict: Answer
    renumber: Answer
    roll_back: Answer
    quantize_k: Answer
    quantize_v: Answer
    save_state: Answer
    policy: str
    """The policy in force, after `auto` is resolved."""
    policy_why: str
    probe: Answer = Answer(ok=False, why="Nothing is loaded.")
    """Whether a decode can be looked into, so that Probed events come."""


class SinkTrial(Wire, frozen=True, kw_only=True):
    """What it costs to keep `n_sink` first tokens: mean loss a token, how much that is above the best trial's, and the
    standard error of that difference.
    """

    n_sink: int
    loss_nats: float
    excess_nats: float
    error_nats: float


class Outlier(Wire, frozen=True, kw_only=True):
    """A position where the residual stream of some layer is `ratio` times as long as at the median token."""

    pos: int
    ratio: float


class Sinks(Wire, frozen=True, kw_only=True):
    """How many first tokens stay at least, and why; the system prompt stays whatever this says."""

    n: int
    why: str
    trials: list[SinkTrial] = []
    """What was measured; empty where nothing was."""
    scored_tokens: int | None = None
    """The most tokens that a trial predicted; one that was clear sooner ended sooner."""
    outliers: list[Outlier] | None = None
    """Of the first 64 tokens; None where the layers have names that are not known."""


class CellRun(Wire, frozen=True, kw_only=True):
    """Consecutive positions held by one message.

    `kind` is "sink", "pinned", "recent" or "recalled"; `role` is "system", "user", "assistant" or "text" (a stream
    with no turns). The run covers positions pos .. pos + n - 1. `lost` counts tokens of the same message that were
    evicted from inside its turn.
    """

    turn: int
    role: str
    kind: str
    pos: int
    n: int
    lost: int = 0


class Ghost(Wire, frozen=True, kw_only=True):
    """A turn that has left the cache wholly (`whole`) or in part, and how many of its tokens left."""

    turn: int
    tokens: int
    whole: bool


class TopCell(Wire, frozen=True, kw_only=True):
    """A cell that the token looked at much: its number in the cache, the position it holds, its share of attention."""

    cell: int
    pos: int | None
    share: float


class Sight(Wire, frozen=True, kw_only=True):
    """What one kind of layer saw, `kind` "global" or "swa": llama.cpp's own mask, cells and attention.

    Shares are means over heads and layers of this kind. `placed` says where tokens lie: from cell `cell` on, `n` cells
    hold the positions from `pos` on, for each (cell, pos, n), in order of the cells; it is empty where llama.cpp does
    not tell. `heat` has a byte (chatapp.engine.levels.weight) for every `heat_tok` visible tokens in order of position.
    """

    kind: str
    n_cells: int
    n_visible: int
    placed: list[tuple[int, int, int]]
    shares: list[float]
    """For each of the event's `runs`."""
    heat: bytes
    heat_tok: int
    top: list[TopCell]


class LayerSight(Wire, frozen=True, kw_only=True):
    """One layer: bytes of chatapp.engine.levels, `share` for each head, `weight` for each of the event's `runs`."""

    layer: int
    kind: str
    kept: bytes
    """On the sinks that the cache keeps, by head."""
    learned: bytes
    """On the model's learned sink, by head; empty where it has none."""
    runs: bytes
    """On each run, mean over the heads."""
    norm: float | None
    """Euclidean norm of the token's residual stream behind this layer."""
    experts: list[int]
    expert_weights: list[float]


class Stages(Wire, frozen=True, kw_only=True):
    """Where the time of one turn went, in ms of the engine's clock; together they are nearly the whole turn.

    `prefill` has the evictions and rebuilds that the prompt needed, `decode` those that the reply needed.
    """

    template: float
    """Rendering the chat template and tokenizing."""
    prefill: float
    sample: float
    """Choosing the reply's tokens, and turning them into text."""
    decode: float
    probe: float


class TurnStats(Wire, frozen=True, kw_only=True):
    """What one turn cost; the numbers of `swachat ask --json`."""

    prompt_tokens: int
    """Tokens of this turn's own prompt: the person's message with its markup (and the system prompt, in turn 1)."""
    reply_tokens: int
    reused_tokens: int
    """Tokens that were in the cache when the turn began and were not processed again."""
    processed_tokens: int
    """Prompt tokens that went through the model in this turn, a rebuild's included."""
    evicted_tokens: int
    shifts: int
    ttft_s: float | None
    prompt_tok_s: float | None
    decode_tok_s: float | None
    stages: Stages | None = None
    """None from an engine that did not measure them."""


# --------------------------------------------------------------------------- commands


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
    messages: list[Message] = []
    """The conversation: the engine remembers the words of its latest turns only."""


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


# --------------------------------------------------------------------------- events


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
    """The reply to prompt `number` (from 0) of Several. `stop_reason` is as in TurnDone."""

    number: int
    text: str
    prompt_tokens: int
    reply_tokens: int
    evicted_tokens: int
    stop_reason: str
    ms: float


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
    """A command could not be done. `kind` is "user" (exit code 2), "model" or "engine" (3)."""

    kind: str
    what: str
    todo: str


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
    | Several
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
    | TurnDone
    | RolledBack
    | Pinned
    | Recalled
    | Replied
    | SeveralDone
    | Branched
    | Released
    | Foreseen
    | Spelled
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
    """The command in a frame's body; msgspec.ValidationError where it is none."""
    return _commands.decode(body)


def decode_event(body: bytes) -> AnyEvent:
    """The event in a frame's body; msgspec.ValidationError where it is none."""
    return _events.decode(body)
