"""The status bar's and the progress line's figures, from the state of a chat."""

from chatapp.chat.controller import Chat
from chatapp.chat.view import Phase
from chatapp.models import name_of
from chatapp.presentation.format import rate
from chatapp.ui.widgets.status import Status

QUIET_TOK = 512
"""A shorter prompt is prefilled before anybody could read a progress line."""

_STYLES = {Phase.IDLE: "$text-success", Phase.DOWN: "bold $text-error"}


def status(chat: Chat, model: str | None, *, cache_elsewhere: bool = False) -> Status:
    """What the status bar says now; with `cache_elsewhere`, window and speed are shown on another line already."""
    loaded, snapshot = chat.loaded, chat.snapshot
    window = speed = device = policy = ""
    if loaded is not None:
        device = "GPU" if loaded.on_gpu else "CPU"
        policy = loaded.policy
        window = "" if cache_elsewhere else f"0/{loaded.n_ctx:,}"
    if snapshot is not None and not cache_elsewhere:
        window = f"{snapshot.n_used:,}/{snapshot.n_ctx:,}"
        if snapshot.decode_tok_s is not None:
            speed = f"{rate(snapshot.decode_tok_s)} tok/s"
    return Status(
        phase=_phase(chat),
        window=f"{window} tokens" if window else "",
        speed=speed,
        device=device,
        policy=policy,
        model=model_name(chat, model),
        style=_STYLES.get(chat.phase, "$text-accent"),
    )


def progress(chat: Chat, model: str | None) -> tuple[str, int, int, str] | None:
    """Label, done, total and figure of the progress line; None if there is nothing to wait for."""
    if chat.done is None:
        return None
    done, total = chat.done
    match chat.phase:
        case Phase.LOADING:
            return f"Loading {model_name(chat, model)}", done, total, f"{done}%"
        case Phase.MEASURING:
            return "Measuring sinks (Esc skips)", done, total, f"{done:,}/{total:,} tokens"
        case Phase.OPENING:
            return "Filling the cache", done, total, f"{done:,}/{total:,} tokens · Esc stops"
        case Phase.IDLE:
            return "Rebuilding the cache", done, total, f"{done:,}/{total:,} tokens · Esc stops"
        case Phase.RECALLING:
            return "Recalling", done, total, f"{done:,}/{total:,} tokens · Esc stops"
        case Phase.TOKENIZING:
            return "Tokenizing", done, total, f"{total:,} characters · Esc stops"
        case Phase.READING if total > QUIET_TOK:
            return "Reading", done, total, f"{done:,}/{total:,} tokens"
        case _:
            return None


def model_name(chat: Chat, model: str | None) -> str:
    """The model's name: that of its file once it is loaded, before that the one that was asked for."""
    if chat.loaded is not None:
        return name_of(chat.loaded.model.path)
    return name_of(model) if model else "the model"


def _phase(chat: Chat) -> str:
    if chat.done is None or chat.phase is Phase.TOKENIZING:
        return chat.phase.value
    done, total = chat.done
    return f"{chat.phase.value} {done}%" if chat.phase is Phase.LOADING else f"{chat.phase.value} {done:,}/{total:,}"
