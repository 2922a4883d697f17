"""Which experts the sampled tokens were routed to, and how even the load is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chatapp.presentation.attention import grouped
from chatapp.protocol.events import Probed


@dataclass(frozen=True, slots=True)
class Routed:
    """The experts that one sampled token was routed to: by layer, the chosen ones with their weights."""

    pos: int
    chosen: dict[int, tuple[tuple[int, float], ...]]


@dataclass(frozen=True, slots=True)
class LayerLoad:
    """One layer's load: how many of the sampled `tokens` were routed to each expert."""

    layer: int
    counts: tuple[int, ...]
    tokens: int

    @property
    def busiest(self) -> int:
        """The expert with the most tokens; the first one on a tie."""
        return self.counts.index(max(self.counts))

    @property
    def imbalance(self) -> float:
        """The busiest expert's load over the mean: 1 is even; n_expert / n_used means the same ones every time."""
        return max(self.counts) * len(self.counts) / sum(self.counts)

    @property
    def n_taken(self) -> int:
        """Experts that at least one token was routed to."""
        return len(self.counts) - self.counts.count(0)

    def shares(self, most: int) -> list[float]:
        """The share of the tokens that was routed to each expert, 0 to 1; of more than `most` experts, the means of
        neighbouring groups.
        """
        return [mean / self.tokens for mean in grouped(self.counts, most)]


def routed(probed: Probed) -> Routed | None:
    """What the event says about experts; None if no layer has any."""
    chosen = {
        one.layer: tuple(zip(one.experts, one.expert_weights, strict=True)) for one in probed.layers if one.experts
    }
    return Routed(probed.pos, chosen) if chosen else None


def loads(history: Iterable[Routed], n_expert: int) -> list[LayerLoad]:
    """The load of each layer that has experts, first to last, over these tokens.

    An expert beyond `n_expert` (a damaged trace) is ignored.
    """
    counts: dict[int, list[int]] = {}
    tokens: dict[int, int] = {}
    for token in history:
        for layer, experts in token.chosen.items():
            row = counts.setdefault(layer, [0] * n_expert)
            tokens[layer] = tokens.get(layer, 0) + 1
            for expert, _ in experts:
                if 0 <= expert < n_expert:
                    row[expert] += 1
    return [LayerLoad(layer, tuple(row), tokens[layer]) for layer, row in sorted(counts.items()) if any(row)]


def median_imbalance(of: Sequence[LayerLoad]) -> float:
    """The median layer's imbalance; for an even number of layers, the upper one of the middle two."""
    return sorted(one.imbalance for one in of)[len(of) // 2]
