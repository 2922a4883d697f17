"""An eviction that is not reported yet: its cost is known only after the next decode."""

import time
from dataclasses import dataclass

from chatapp.cache.policy import EvictionPlan
from chatapp.protocol.events import Evicted


@dataclass(frozen=True, slots=True)
class Eviction:
    """A plan that was applied in `ms`; `reprocessed` tokens went through the model for it, `turn` needed the cells."""

    plan: EvictionPlan
    policy: str
    turn: int | None
    why: str
    ms: float
    reprocessed: int

    def event(self, next_decode_ms: float) -> Evicted:
        """The event. Keys are rotated in the next decode, which took `next_decode_ms`; 0 where none follows."""
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
