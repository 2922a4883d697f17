"""What the probe says about sinks, as plain numbers: by layer and head, by kind of layer, over time, and compared with
what the model was measured to need.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from chatapp.cache.sink_count import Trial, fewest
from chatapp.protocol.attention_bytes import share
from chatapp.protocol.events import Loaded, Probed, Snapshot
from chatapp.protocol.values import Sinks

KINDS = {"global": "global", "swa": "sliding"}
"""Kinds of layers: the events' names, and the names on screen."""
LOSING = ("sinks", "slide", "window")
"""Policies under which it hurts to evict the first tokens: `dense` evicts nothing, and `rebuild` processes whatever
comes first as the first."""


@dataclass(frozen=True, slots=True)
class SinkSample:
    """The attention on sinks when the token at position `pos` was sampled."""

    pos: int
    share: float
    """0 to 1, on kept and learned sinks, mean over all heads and layers."""
    evicted: bool
    """Tokens were evicted since the previous sample."""


@dataclass(frozen=True, slots=True)
class LayerSinks:
    """Attention on sinks in one layer, 0 to 1, by head. `learned` is empty where the model has no learned sinks."""

    layer: int
    kind: str
    kept: tuple[float, ...]
    learned: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SinkShare:
    """Mean over all heads of some layers, 0 to 1: on kept sinks, and on learned ones (None if there are none)."""

    n_layer: int
    kept: float
    learned: float | None

    @property
    def both(self) -> float:
        """On sinks of either kind."""
        return self.kept + (self.learned or 0.0)


def layers(probed: Probed) -> list[LayerSinks]:
    """The sampled layers, first to last; each has at least one head."""
    return [
        LayerSinks(one.layer, one.kind, tuple(map(share, one.kept)), tuple(map(share, one.learned)))
        for one in probed.layers
        if one.kept
    ]


def mean(of: Iterable[LayerSinks]) -> SinkShare:
    """The mean over the heads of these layers; there must be at least one.

    A layer without learned sinks, among others that have them, counts as zero on learned sinks.
    """
    these = list(of)
    kept = [value for one in these for value in one.kept]
    learned = [value for one in these for value in one.learned]
    return SinkShare(len(these), sum(kept) / len(kept), sum(learned) / len(kept) if learned else None)


def by_kind(of: Sequence[LayerSinks]) -> dict[str, SinkShare]:
    """The means of the global and of the sliding layers, for the kinds that the model has."""
    return {kind: mean(one for one in of if one.kind == kind) for kind in KINDS if any(one.kind == kind for one in of)}


def needed(sinks: Sinks) -> int | None:
    """How many first tokens this model needs, as measured: by the loss without them, and by outlying residual norms.

    Of the outliers only those count that are contiguous from the first token on: later ones belong to the measured
    text. None if nothing was measured.
    """
    found: list[int] = []
    if sinks.trials:
        trials = [Trial(one.n_sink, one.loss_nats, one.excess_nats, one.error_nats) for one in sinks.trials]
        found.append(fewest(trials))
    if sinks.outliers is not None:
        leading = takewhile(lambda pair: pair[0] == pair[1].pos, enumerate(sinks.outliers))
        found.append(sum(1 for _ in leading))
    return max(found, default=None)


def shortfall(loaded: Loaded, snapshot: Snapshot | None) -> tuple[int, int] | None:
    """(kept, needed) if the cache keeps fewer first tokens than the model was measured to need; else None.

    Also None if nothing was measured, or while the cache is still too short to tell.
    """
    if loaded.sinks is None or loaded.policy not in LOSING or snapshot is None:
        return None
    need = needed(loaded.sinks)
    if need is None or snapshot.n_used < need or snapshot.n_sink >= need:
        return None
    return snapshot.n_sink, need


def grouped(values: Sequence[float], most: int) -> list[float]:
    """`values` unchanged or, if there are more than `most`, the means of neighbouring groups of equal size.

    The last group may be smaller.

    >>> grouped([0.0, 1.0, 0.5, 0.5, 1.0], most=3)
    [0.5, 0.5, 1.0]
    """
    size = max(1, -(-len(values) // max(1, most)))
    groups = [values[at : at + size] for at in range(0, len(values), size)]
    return [sum(group) / len(group) for group in groups]
