"""Which experts the sampled tokens went through, and how evenly that loads them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from chatapp.presentation.attention import grouped
from chatapp.protocol.events import Probed


@dataclass(frozen=True, slots=True)
class Routed:
    """The experts that one sampled token went through: by layer, those chosen with their weights."""

    pos: int
    chosen: dict[int, tuple[tuple[int, float], ...]]


@dataclass(frozen=True, slots=True)
class LayerLoad:
    """One layer over some sampled tokens: how many of the `tokens` went through each expert."""

    layer: int
    counts: tuple[int, ...]
    tokens: int

    @property
    def busiest(self) -> int:
        """The expert that most tokens went through; of several the first."""
        return self.counts.index(max(self.counts))

    @property
    def imbalance(self) -> float:
        """The busiest expert's load over the mean: 1 is even, n_expert / n_used is always the same ones."""
        return max(self.counts) * len(self.counts) / sum(self.counts)

    @property
    def n_taken(self) -> int:
        """Experts that some token went through."""
        return len(self.counts) - self.counts.count(0)

    def shares(self, most: int) -> list[float]:
        """The share of the tokens that went through each expert, 0 to 1, or where they are more than `most`, its mean
        over groups of neighbours.
        """
        return [mean / self.tokens for mean in grouped(self.counts, most)]


def routed(probed: Probed) -> Routed | None:
    """What the event says of experts; None where no layer has any."""
    chosen = {
        one.layer: tuple(zip(one.experts, one.expert_weights, strict=True)) for one in probed.layers if one.experts
    }
    return Routed(probed.pos, chosen) if chosen else None


def loads(history: Iterable[Routed], n_expert: int) -> list[LayerLoad]:
    """The load of each layer that has experts, from first to last, over these tokens.

    An expert beyond `n_expert` (a damaged trace) is left out.
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
    """The imbalance of the layer in the middle; of an even number the upper one of the two."""
    return sorted(one.imbalance for one in of)[len(of) // 2]
