"""Every setting, with its type, its limits, its default and one line of why.

The text under each field is its documentation: `example_yaml` copies it into config.example.yaml, so it says what the
setting does and why one would change it, in words for the person who reads that file.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

Policy = Literal["auto", "sinks", "slide", "rebuild", "window", "dense"]
CellType = Literal["f32", "f16", "bf16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"]

MAX_TOKENS = 2**31 - 1
"""llama.cpp counts positions in 32 bits."""
MAX_SEED = 2**32 - 2
"""2**32 - 1 is llama.cpp's own sign for "draw a seed"."""


def _holds_a_conversation(value: object) -> object:
    """`recompute` is a policy of `swachat perplexity` alone, and no misspelling: say so."""
    if value == "recompute":
        raise ValueError("must be a way to keep a cache (`swachat perplexity` alone can recompute each token)")
    return value


def _on_off(value: object) -> object:
    """YAML 1.1 reads a bare `on` or `off` as true or false; where those are the names of choices, take the name."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else value


class Section(BaseModel):
    """Base of all settings: no conversions in silence, no unknown keys, no change after loading."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class CacheConfig(Section):
    """The KV cache: what the model can see of the conversation, and what that costs."""

    ctx: Annotated[int, Field(ge=256, le=MAX_TOKENS)] | Literal["max"] = 4096
    """The window in tokens, padded to a multiple of 256. More sees further back and takes more memory. max: the largest
    that fits in memory, up to the length that the model was trained for; past that, models get worse."""
    sinks: Annotated[int, Field(ge=0, le=MAX_TOKENS)] | Literal["auto"] = 4
    """First tokens that never leave: attention rests on them, and without them text falls apart past the window. auto:
    as few as the model needs, measured when it is first loaded."""
    policy: Annotated[Policy, BeforeValidator(_holds_a_conversation)] = "auto"
    """What happens when the window is full. sinks: the oldest turns leave, the rest moves up. slide: they leave, the
    rest stays where it is. rebuild: they leave, the rest is processed again. auto: the first of these that the model
    can do. window: the oldest tokens leave, sinks and all (to compare with). dense: nothing leaves, and it ends."""
    evict_share: Annotated[float, Field(ge=0.05, le=0.75)] = 0.125
    """Share of the window that is freed at once. Less keeps more in sight; more evicts more rarely."""
    swa_full: bool = False
    """Keep all cells of sliding window layers, too: more memory, and going far back needs a rebuild less often."""
    type_k: CellType = "f16"
    """How keys are stored. q8_0 takes about half the memory of f16, at a small loss."""
    type_v: CellType = "f16"
    """How values are stored. A quantized type needs flash attention."""
    micro_batch: Annotated[int, Field(ge=1, le=65536)] = 256
    """Tokens that are processed in one go. More reads a long prompt faster and takes more working memory."""
    live_branches: Annotated[int | None, Field(ge=1, le=16)] = None
    """Branches of a conversation, or replies to one message, that stay in the cache side by side, with what they have
    in common held once. null: two where that takes no memory, else one."""
    checkpoint_mib: Annotated[int, Field(ge=0, le=65536)] = 64
    """Memory for going back in models with sliding windows or a recurrent state without processing anything again."""


class EngineConfig(Section):
    """Where and how llama.cpp runs."""

    gpu_layers: Annotated[int, Field(ge=-1, le=MAX_TOKENS)] = -1
    """Layers that go to the GPU; -1 is all of them. Without a GPU build this changes nothing."""
    threads: Annotated[int | None, Field(ge=1, le=1024)] = None
    """Processor threads; null chooses by the number of cores. More than the cores there are makes it slower."""
    flash_attention: Annotated[Literal["auto", "on", "off"], BeforeValidator(_on_off)] = "auto"
    """Flash attention: less memory and time. auto uses it where the device can do it."""
    probe_every: Annotated[int | None, Field(ge=0, le=MAX_TOKENS)] = None
    """Look at what the model attends to once in so many tokens of a reply; 0 does not, unless asked to. It never
    takes more than about 4% of the time: in a long window it looks more rarely. null: once in 32 tokens in the chat
    where the processor does the work, and only when asked to elsewhere."""
    probe_always: bool = False
    """Look through a callback that llama.cpp calls at every token. It is for builds in which the other way is missing,
    which costs nothing between two looks; swachat doctor tells."""


class SamplingConfig(Section):
    """How the next token is chosen."""

    temperature: Annotated[float, Field(ge=0)] = 0.7
    """How freely to choose: 0 always takes the likeliest token, above 1 gets wild."""
    top_k: Annotated[int, Field(ge=0, le=MAX_TOKENS)] = 40
    """Choose among this many of the likeliest tokens; 0 is no limit."""
    top_p: Annotated[float, Field(ge=0, le=1)] = 0.95
    """Choose among the likeliest tokens that together have this probability; 1 is no limit."""
    min_p: Annotated[float, Field(ge=0, le=1)] = 0.05
    """Drop tokens that are less likely than this share of the likeliest one; 0 drops none."""
    repeat_penalty: Annotated[float, Field(gt=0)] = 1.1
    """How much a token that was just used loses; 1 is nothing. Small models repeat themselves without it."""
    seed: Annotated[int | None, Field(ge=0, le=MAX_SEED)] = None
    """A number makes replies repeatable; null draws a new one for each reply."""
    max_tokens: Annotated[int | None, Field(ge=1, le=MAX_TOKENS)] = None
    """The longest reply in tokens; null lets the model end by itself."""


class SessionsConfig(Section):
    """The stored conversations."""

    saved_caches: Annotated[int, Field(ge=0, le=1000)] = 4
    """How many conversations keep their cache on disk, so that going on with one takes no time. Each takes as much
    room as its cache does in memory; 0 keeps none."""


class UiConfig(Section):
    """What is shown, and how."""

    theme: Annotated[str, Field(min_length=1)] = "swachat-dark"
    """The colours: swachat-dark, swachat-light, okabe-ito (colour-blind eyes), terminal (16 colours), monochrome,
    ember, fjord, dawn, or a theme of your own (docs/reference/themes.md)."""
    inspector: bool = True
    """Show the KV cache beside the conversation."""
    inspector_width: Annotated[int, Field(ge=24, le=120)] = 42
    """Columns of the inspector. On narrow screens it folds into one line."""
    markdown: bool = True
    """Draw replies as Markdown; false shows them as the model wrote them."""
    frames_per_second: Annotated[int, Field(ge=1, le=60)] = 20
    """How often the inspector is redrawn at most. Lower it over a slow connection."""
    show_stats: bool = True
    """Show speed and token counts under each reply."""


class Config(Section):
    """All settings of swachat."""

    model: str | None = None
    """The model to start with: a path to a GGUF file, a name that `swachat models` lists, or hf:org/repo[:file].
    null takes the last one used, else the starter model."""
    system: str | None = None
    """What the model is told before the conversation. It never leaves the window. null is nothing."""
    cache: CacheConfig = CacheConfig()
    engine: EngineConfig = EngineConfig()
    sampling: SamplingConfig = SamplingConfig()
    sessions: SessionsConfig = SessionsConfig()
    ui: UiConfig = UiConfig()
    keys: dict[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict[str, str])
    """Other keys for actions: the action's id, then one key or several with commas between, such as
    {quit: "ctrl+x", next_theme: "f9,ctrl+t"}."""
