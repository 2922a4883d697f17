"""Plain values in commands and events: settings, facts and capabilities of a model, contents of a cache.

A field with a unit has it in its name; an unknown value is None, never a guess.
"""

import msgspec

HOST = "CPU"
"""ggml's name for the host as a device."""


def host_first(device: str) -> tuple[bool, str]:
    """A sort key for devices."""
    return device != HOST, device


class Wire(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all plain values below."""


class CacheRequest(Wire, frozen=True, kw_only=True):
    """The `cache` section of the config: how the KV cache is created and managed. None: the engine decides."""

    n_ctx: int | None = 4096
    """None: the largest window that fits in memory, and no larger than the model was trained for."""
    sinks: int | None = 4
    """First tokens that are never evicted. None: as few as the model needs, measured."""
    policy: str = "auto"
    evict_share: float = 0.125
    swa_full: bool = False
    type_k: str = "f16"
    type_v: str = "f16"
    micro_batch: int = 256
    live_branches: int | None = None
    """Branches of the conversation that the cache can hold at once; None: two where that costs no memory."""
    checkpoint_mib: int = 64
    """Host memory for checkpoints, with which an undo or another reply goes back where the cache cannot be cut."""


class CacheSettings(CacheRequest, frozen=True, kw_only=True):
    """A request with every value set."""

    n_ctx: int = 4096
    sinks: int = 4


class Threads(Wire, frozen=True, kw_only=True):
    """How many CPU threads decode a token of a reply and a chunk of a prompt, of `most`; and why, in a few words."""

    decode: int
    prefill: int
    most: int
    why: str


class EngineSettings(Wire, frozen=True, kw_only=True):
    """Where and how llama.cpp runs; the `engine` section of the config, resolved."""

    gpu_layers: int = -1
    threads: int | None = None
    """None: chosen while it runs."""
    flash_attention: str = "auto"
    probe_every: int | None = 0
    """None: the engine decides."""
    probe_always: bool = False
    chat_template: str | None = None
    """The path of a file with a Jinja template to use in place of the model's own."""
    template_args: tuple[tuple[str, bool | int | float | str | None], ...] = ()
    """What the template is given by name: pairs of name and value."""


class Sampling(Wire, frozen=True, kw_only=True):
    """How the next token is sampled. `temperature` 0 is greedy; with `seed` None each reply has a random seed."""

    temperature: float = 0.7
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    repeat_penalty: float = 1.1
    seed: int | None = None
    max_tokens: int | None = None
    think_budget: int | None = None
    """After so many tokens of reasoning the thought is ended, and the answer begins. None: the model decides."""


class Message(Wire, frozen=True, kw_only=True):
    """One stored message of the conversation, as text. `role` is "user" or "assistant".

    A reply that was stopped before its first token does not belong here; one that the model ended there is empty, and
    does.
    """

    turn: int
    role: str
    text: str
    tokens: bytes = b""
    """Of a reply: the ids of its tokens as the model made them, unsigned little-endian numbers of 32 bits; empty where
    they are not known."""
    model: str = ""
    """The digest of the model that made them."""
    reasoning: str = ""
    """Of a reply: what the model thought before it."""


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
    """Memory planned for or allocated on one device, by ggml's name; the host is "CPU"."""

    device: str
    memory: Memory


class HostMemory(Wire, frozen=True, kw_only=True):
    """The host's memory that the engine can take, at most a second old."""

    available_bytes: int
    """What can be taken without swapping, and within the limits of the process's control groups."""
    limit_bytes: int
    """The machine's memory, or the narrowest of these limits."""
    swap_used_bytes: int | None = None
    """Of the whole machine."""
    swapped_bytes: int | None = None
    """Of the engine's process; None where the system does not report it."""
    private_bytes: int | None = None
    """The engine's resident memory less what is mapped from files, which the system can drop and read again."""


class ModelFacts(Wire, frozen=True, kw_only=True):
    """What the GGUF says about the model; None where it does not say."""

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
    """What this model can do with these cache settings."""

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
    """Whether decodes can be sampled, so that there are Probed events."""


class SinkTrial(Wire, frozen=True, kw_only=True):
    """The loss with `n_sink` first tokens: its mean per token, how much that is above the best trial's, and the
    standard error of that difference.
    """

    n_sink: int
    loss_nats: float
    excess_nats: float
    error_nats: float


class Outlier(Wire, frozen=True, kw_only=True):
    """A position where the residual stream of some layer is `ratio` times as large as at the median token."""

    pos: int
    ratio: float


class Sinks(Wire, frozen=True, kw_only=True):
    """The fewest first tokens that stay, and why; the system prompt stays in any case."""

    n: int
    why: str
    trials: list[SinkTrial] = []
    """The trials; empty where nothing was measured."""
    scored_tokens: int | None = None
    """The most tokens that a trial scored; one that was decided sooner ended sooner."""
    outliers: list[Outlier] | None = None
    """Among the first 64 tokens; None where the layers have unknown names."""


class CellRun(Wire, frozen=True, kw_only=True):
    """Consecutive positions of one message in the cache.

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
    """A turn that was evicted whole (`whole`) or in part, and how many of its tokens were."""

    turn: int
    tokens: int
    whole: bool


class TopCell(Wire, frozen=True, kw_only=True):
    """A cell with much attention: its index in the cache, the position in it, its share of attention."""

    cell: int
    pos: int | None
    share: float


class Sight(Wire, frozen=True, kw_only=True):
    """What one kind of layer saw, `kind` "global" or "swa": llama.cpp's own mask, cells and attention.

    Shares are means over heads and layers of this kind. `placed` says which cells hold which positions: for each
    (cell, pos, n), `n` cells from `cell` on hold the positions from `pos` on, in order of the cells; it is empty where
    llama.cpp does not report them. `heat` has a byte (attention_bytes.weight) for every `heat_tok` visible tokens in
    order of position.
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
    """One layer, in bytes of attention_bytes: a `share` for each head, a `weight` for each of the event's `runs`."""

    layer: int
    kind: str
    kept: bytes
    """On the cached sinks, by head."""
    learned: bytes
    """On the model's learned sink, by head; empty where it has none."""
    runs: bytes
    """On each run, mean over the heads."""
    norm: float | None
    """Euclidean norm of the token's residual stream after this layer."""
    experts: list[int]
    expert_weights: list[float]


class Stages(Wire, frozen=True, kw_only=True):
    """Where the time of one turn went, in ms of the engine's clock; together nearly the whole turn.

    `prefill` includes the evictions and rebuilds for the prompt, `decode` those for the reply.
    """

    template: float
    """Rendering the chat template and tokenizing."""
    prefill: float
    sample: float
    """Sampling the reply's tokens, and turning them into text."""
    decode: float
    probe: float


class TurnStats(Wire, frozen=True, kw_only=True):
    """What one turn cost; the figures of `swachat ask --json`."""

    prompt_tokens: int
    """Tokens of this turn's own prompt: the user's message with its markup (and the system prompt, in turn 1)."""
    reply_tokens: int
    """All tokens that were generated."""
    reasoning_tokens: int = 0
    """Of these, the thoughts and their markers."""
    reused_tokens: int
    """Tokens that were cached when the turn began and were not processed again."""
    processed_tokens: int
    """Prompt tokens that were processed in this turn, a rebuild's included."""
    evicted_tokens: int
    shifts: int
    ttft_s: float | None
    prompt_tok_s: float | None
    decode_tok_s: float | None
    stages: Stages | None = None
    """None from an engine that did not measure them."""
