"""Times and machines that are always the same: what the scripted engine says is equal byte for byte, run after run."""

from msgspec import structs

from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import (
    Evicted,
    Foreseen,
    Opened,
    Prefilled,
    Recalled,
    Replied,
    RolledBack,
    Saved,
    SeveralDone,
    Snapshot,
    TurnDone,
)
from chatapp.protocol.values import Stages, TurnStats

MIB = 1 << 20
TOKEN_MS = 0.5
PROMPT_TOK_S, DECODE_TOK_S, TTFT_S = 412.0, 61.0, 0.18


def steady(event: AnyEvent, at_s: float) -> AnyEvent:
    """The event as a machine would give it that is always as fast; what is not known stays so."""
    event = structs.replace(event, at_s=at_s)
    match event:
        case Snapshot():
            return structs.replace(
                event,
                resident_bytes=251 * MIB,
                devices=[],
                host=None,
                prompt_tok_s=_known(event.prompt_tok_s, PROMPT_TOK_S),
                decode_tok_s=_known(event.decode_tok_s, DECODE_TOK_S),
            )
        case TurnDone():
            return structs.replace(event, stats=_stats(event.stats))
        case Prefilled():
            return structs.replace(event, ms=event.done * TOKEN_MS)
        case Opened():
            return structs.replace(event, ms=event.processed_tokens * TOKEN_MS)
        case Recalled():
            return structs.replace(event, ms=event.tokens * TOKEN_MS)
        case Foreseen():
            tokens = event.tokens + event.reprocessed
            return structs.replace(event, seconds=_known(event.seconds, tokens / PROMPT_TOK_S))
        case Evicted():
            return structs.replace(event, ms=0.3, next_decode_ms=9.0 if event.next_decode_ms else 0.0)
        case RolledBack():
            return structs.replace(event, ms=0.2)
        case Saved() | Replied() | SeveralDone():
            return structs.replace(event, ms=1.0)
        case _:
            return event


def _stats(stats: TurnStats) -> TurnStats:
    return structs.replace(
        stats,
        ttft_s=_known(stats.ttft_s, TTFT_S),
        prompt_tok_s=_known(stats.prompt_tok_s, PROMPT_TOK_S),
        decode_tok_s=_known(stats.decode_tok_s, DECODE_TOK_S),
        stages=Stages(
            template=0.6,
            prefill=stats.processed_tokens / PROMPT_TOK_S * 1000,
            sample=stats.reply_tokens * 0.2,
            decode=stats.reply_tokens * 16.0,
            probe=0.0,
        ),
    )


def _known(value: float | None, steady_value: float) -> float | None:
    return None if value is None else steady_value
