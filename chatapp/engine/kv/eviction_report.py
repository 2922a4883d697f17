"""An eviction on its way to being told: what it cost is known only when the next decode is done."""

import time
from dataclasses import dataclass

from chatapp.cache.policy import EvictionPlan
from chatapp.protocol.events import Evicted


@dataclass(frozen=True, slots=True)
class Eviction:
    """A plan that was carried out in `ms`, `reprocessed` tokens among it; `turn` is whose tokens needed the room."""

    plan: EvictionPlan
    policy: str
    turn: int | None
    why: str
    ms: float
    reprocessed: int

    def event(self, next_decode_ms: float) -> Evicted:
        """What the interface is told. Keys turn inside the next decode: its ms, 0 where none follows."""
        plan = self.plan
        return Evicted(
            at_s=time.time(),
            turn=self.turn,
            policy=self.policy,
            tokens=plan.tokens,
            turns=list(plan.turns),
            partial_turn=plan.partial_turn,
            removed=list(plan.removed),
            renumbered=plan.renumbers,
            reprocessed_tokens=self.reprocessed,
            ms=self.ms,
            next_decode_ms=next_decode_ms,
            why=self.why,
        )
