"""A turn in progress: its message, the counts before it, and what it has cost since."""

from dataclasses import dataclass, field

from chatapp.engine.kv.cache import KvCache
from chatapp.engine.session.generation import Reply
from chatapp.engine.stopwatch import Stopwatch
from chatapp.protocol.values import TurnStats


@dataclass(frozen=True, slots=True)
class Counts:
    """How much a cache has done since it was created."""

    processed: int
    evicted: int
    shifts: int

    @classmethod
    def of(cls, kv: KvCache) -> "Counts":
        """The counts now."""
        return cls(kv.processed, kv.ledger.evicted_tokens, kv.shifts)


@dataclass
class Turn:
    """One turn, from when the engine takes the message; `reused` tokens were not processed for it."""

    number: int
    text: str
    before: Counts
    reused: int = 0
    clock: Stopwatch = field(default_factory=Stopwatch)

    def stats(self, now: Counts, reply: Reply, prompt_tokens: int, prompt_tok_s: float | None) -> TurnStats:
        """What the turn has cost."""
        first, last = reply.first_token_at, reply.last_token_at
        return TurnStats(
            prompt_tokens=prompt_tokens,
            reply_tokens=reply.tokens,
            reasoning_tokens=reply.reasoning_tokens,
            reused_tokens=self.reused,
            processed_tokens=now.processed - self.before.processed,
            evicted_tokens=max(0, now.evicted - self.before.evicted),  # fewer where another branch is in use
            shifts=now.shifts - self.before.shifts,
            ttft_s=first - self.clock.began if first is not None else None,
            prompt_tok_s=prompt_tok_s,
            decode_tok_s=(reply.tokens - 1) / (last - first)
            if first is not None and last is not None and reply.tokens > 1
            else None,
            stages=self.clock.stages(reply.tokens),
        )
