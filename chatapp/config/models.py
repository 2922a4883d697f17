"""Every setting, with its type, limits, default and documentation.

The text under each field is its documentation: `example_yaml` copies it into config.example.yaml, so it says what the
setting does and why one would change it, for the reader of that file.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Policy = Literal["auto", "sinks", "slide", "rebuild", "window", "dense"]
CellType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

MAX_TOKENS = 2**31 - 1
"""llama.cpp counts positions in 32 bits."""
MAX_SEED = 2**32 - 2
"""2**32 - 1 is llama.cpp's own marker for "draw a seed"."""


def _holds_a_conversation(value: object) -> object:
    """`recompute` is a policy of `swachat perplexity` only, not a misspelling: say so."""
    if value == "recompute":
        raise ValueError("must be a cache policy (only `swachat perplexity` can recompute each token)")
    return value


def _on_off(value: object) -> object:
    """YAML 1.1 reads a bare `on` or `off` as true or false; where those are choices, restore the name."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


def _null_is_auto(value: object) -> object:
    """What null meant before there was an `auto`."""
    return "auto" if value is None else value


class Section(BaseModel):
    """Base of all settings: no silent conversions, no unknown keys, no change after loading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class CacheConfig(Section):
    """The KV cache: what the model can see of the conversation, and what that costs."""

    ctx: Annotated[int, Field(ge=256, le=MAX_TOKENS)] | Literal["max"] = 4096
    """The window in tokens, rounded up to a multiple of 256. A larger one sees further back and takes more memory. max:
    the largest that fits in memory, up to the context length the model was trained for; beyond that, models get
    worse."""
    sinks: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | Literal["auto"] = 4
    """First tokens that are never evicted: much of the attention rests on these sinks, and without them the text falls
    apart once the window is full. auto: as few as the model needs, measured when it is first loaded."""
    policy: Annotated[Policy, BeforeValidator(_holds_a_conversation)] = "auto"
    """What happens when the window is full. sinks: evict the oldest turns and shift the rest to the front. slide: evict
    them and keep the positions of the rest. rebuild: evict them and process the rest again. auto: the first of these
    that the model supports. window: evict the oldest tokens, sinks included (for comparison). dense: evict nothing and
    stop."""
    evict_share: Annotated[float, Field(ge=0.05, le=0.75)] = 0.125
    """Share of the window that is freed at once. A smaller share keeps more in the window; a larger one evicts less
    often."""
    swa_full: bool = False
    """Keep all cells of sliding-window layers too: takes more memory, but going far back needs fewer rebuilds."""
    type_k: CellType = "f16"
    """Type of the cached keys. q8_0 takes about half the memory of f16, at a small loss of quality."""
    type_v: CellType = "f16"
    """Type of the cached values. A quantized type needs flash attention."""
    micro_batch: Annotated[int, Field(ge=1, le=65536)] = 256
    """Tokens processed in one batch. More prefills a long prompt faster and takes more working memory."""
    live_branches: Annotated[int | None, Field(ge=1, le=16)] = None
    """Branches of a conversation, or replies to one message, that stay in the cache side by side; what they share is
    stored once. null: two where that takes no extra memory, else one."""
    checkpoint_mib: Annotated[int, Field(ge=0, le=65536)] = 64
    """Memory in MiB for checkpoints, with which a model with sliding windows or a recurrent state can go back without
    processing tokens again."""


class EngineConfig(Section):
    """Where and how llama.cpp runs."""

    gpu_layers: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] = -1
    """Layers to put on the GPU; -1 is all of them. No effect without a GPU build."""
    threads: Annotated[Annotated[int, Field(ge=1, le=1024)] | Literal["auto"], BeforeValidator(_null_is_auto)] = "auto"
    """CPU threads. auto tries out while it runs how many are the fastest beside whatever else the machine does, within
    affinity and quota: threads that have to wait for a core hold up all others."""
    flash_attention: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)] = "auto"
    """Flash attention: takes less memory and time. auto uses it where the device supports it."""
    probe_every: Annotated[int | None, Field(ge=0, le=MAX_TOKENS)] = None
    """How often to probe what the model attends to: one sample every so many tokens of a reply; 0 samples only on
    request (/look). Never takes more than about 4% of the time: in a long window it samples less often. null: every 32
    tokens in the chat when the model runs on the CPU, otherwise only on request."""
    probe_always: bool = False
    """Probe through a callback that llama.cpp calls at every token. Only for builds without the usual method, which
    costs nothing between two samples; see `swachat doctor`."""
    chat_template: Annotated[str, Field(min_length=1)] | None = None
    """A file with a Jinja chat template, in place of the one that the model brings. null: the model's own."""
    template_args: dict[str, bool | int | float | str | None] = {}
    """Values that the chat template is given by name, where it reads them, such as {enable_thinking: false} or
    {reasoning_effort: high}. A name that it does not read is told when the model is loaded."""


class SamplingConfig(Section):
    """How the next token is chosen."""

    temperature: Annotated[float, Field(ge=0)] = 0.7
    """Randomness: 0 always takes the likeliest token; above 1 the text becomes erratic."""
    top_k: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 40
    """Choose among this many of the likeliest tokens; 0 means no limit."""
    top_p: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Choose among the likeliest tokens that together have this probability; 1 means no limit."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Drop tokens less likely than this fraction of the likeliest one's probability; 0 drops none."""
    repeat_penalty: Annotated[float, Field(gt=0)] = 1.1
    """Penalty for tokens used recently; 1 means none. Without it small models repeat themselves."""
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED)] = None
    """Random seed: a number makes replies repeatable; null draws a new seed for each reply."""
    max_tokens: Annotated[int | None, Field(ge=1, le=MAX_TOKENS)] = None
    """Maximum length of a reply in tokens; null lets the model decide when to stop."""
    think_budget: Annotated[int | None, Field(ge=0, le=MAX_TOKENS)] = None
    """Maximum length of a model's thoughts before its answer, in tokens; null lets the model decide when to answer."""


class SessionsConfig(Section):
    """The stored conversations."""

    saved_caches: Annotated[int, Field(ge=0, le=1000)] = 4
    """How many conversations keep their cache on disk, so that resuming one needs no prefill. Each takes as much space
    on disk as its cache does in memory; 0 keeps none."""


class UiConfig(Section):
    """What is shown, and how."""

    theme: Annotated[str, Field(min_length=1)] = "swachat-dark"
    """The colour theme: swachat-dark, swachat-light, okabe-ito (for colour-blind eyes), terminal (16 colours),
    monochrome, ember, fjord, dawn, or a theme of your own (docs/reference/themes.md)."""
    inspector: bool = True
    """Show the KV cache beside the conversation."""
    inspector_width: Annotated[int, Field(ge=24, le=120)] = 42
    """Width of the inspector in columns. On narrow screens it folds into one line."""
    markdown: bool = True
    """Render replies as Markdown; false shows them as the model wrote them."""
    frames_per_second: Annotated[int, Field(ge=1, le=60)] = 20
    """Maximum redraws of the inspector per second. Lower it over a slow connection."""
    show_stats: bool = True
    """Show speed and token counts under each reply."""
    thoughts: Literal["folded", "open", "hidden"] = "folded"
    """What a model thinks before its answer: folded is one line that unfolds, open shows all of it, hidden nothing."""


class Config(Section):
    """All settings of swachat."""

    model: str | None = None
    """The model to start with: a path to a GGUF file, a name that `swachat models` lists, or hf:org/repo[:file].
    null: the last one used, else the starter model."""
    system: str | None = None
    """The system prompt. It is never evicted. null: none."""
    cache: CacheConfig = CacheConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    sessions: SessionsConfig = SessionsConfig()
    ui: UiConfig = UiConfig()
    keys: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict[str, str])
    """Custom key bindings: action id, then one or more keys separated by commas, such as
    {quit: "ctrl+x", next_theme: "f9,ctrl+t"}."""
