"""What a scripted engine does."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from chatapp.protocol.events import Failed


@dataclass(frozen=True)
class Script:
    """What the engine does, in order. A death or a failure happens once and is used up."""

    replies: Sequence[str] = ("Hello. What shall we talk about?",)
    """Replies by turn, again from the first after the last."""
    first_replies: Sequence[str] = ()
    """Before these: the replies that are made first of all, whatever their turns."""
    n_ctx: int = 512
    evict_share: float = 0.25
    """Share of the window that leaves at once."""
    token_s: float = 0.0
    """Pause before each token of a reply, in seconds; 0 still lets other tasks run."""
    hold_after: int | None = None
    """Tokens of each reply after which the engine waits for `release`, or for a Cancel."""
    load_s: float = 0.0
    """Pause before each of the four reports of loading."""
    chunk_tok: int | None = None
    """Prompt tokens between two reports of a prefill; None: as the engine would choose."""
    on_gpu: bool = False
    start_error: str | None = None
    """`start` raises EngineError with this."""
    hold_load: float | None = None
    """Share of the weights at which loading waits for `release`."""
    load_failure: Failed | None = None
    no_models: Collection[str] = ()
    """Paths at which there is no file; at every other one there is a model."""
    hold_sinks: bool = False
    """A measurement of sinks waits for `release` or for a Cancel."""
    open_failures: Sequence[Failed] = ()
    """What the first openings are refused with, one after the other."""
    regenerate_failure: Failed | None = None
    warnings: tuple[str, ...] = ()
    thinks: bool = False
    """The model's thoughts stand between <think> and </think> at the beginning of its replies."""
    looks: bool = False
    """A reply can be looked into: a Probe is answered at its next token."""
    hold_open: bool = False
    """A conversation that takes more than one chunk waits after the first one, for `release` or for a Cancel."""
    hold_recall: bool = False
    """A recall that takes more than one chunk waits after the first one, for `release` or for a Cancel."""
    lets_go_in_turn: int | None = None
    """The turn at whose beginning the engine gives up every pin, for want of room."""
    die_in_turn: int | None = None
    """The turn in which the engine ends by itself, after `die_after` tokens of its reply."""
    die_after: int = 0
    death: str = "The engine process was ended by signal SIGKILL; its log is engine.log."
