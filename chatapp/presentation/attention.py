"""What the probe says of sinks, as plain numbers: by layer and head, by kind of layer, over time, and against what the
model was measured to need.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from chatapp.cache.sinks import Trial, fewest
from chatapp.protocol.attention_bytes import share
from chatapp.protocol.events import Loaded, Probed, Snapshot
from chatapp.protocol.values import Sinks

KINDS = {"global": "global", "swa": "sliding"}
"""Kinds of layers as the events name them, and as people read them."""
LOSING = ("sinks", "slide", "window")
"""Policies under which the first tokens are missed where they do not stay: under `dense` nothing leaves, and under
`rebuild` whatever comes first is processed as the first."""


@dataclass(frozen=True, slots=True)
class SinkSample:
    """What rested on sinks when the token at position `pos` was sampled."""

    pos: int
    share: float
    """0 to 1, on kept and learned sinks, mean over all heads and layers."""
    evicted: bool
    """Tokens have left the cache since the sample before."""


@dataclass(frozen=True, slots=True)
class LayerSinks:
    """Attention on sinks in one layer, 0 to 1, by head. `learned` is empty where the model has no learned sinks."""

    layer: int
    kind: str
    kept: tuple[float, ...]
    learned: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SinkShare:
    """Mean over all heads of some layers, 0 to 1: on kept sinks, and on learned ones (None where there are none)."""

    n_layer: int
    kept: float
    learned: float | None

    @property
    def both(self) -> float:
        """On sinks of either kind."""
        return self.kept + (self.learned or 0.0)


def layers(probed: Probed) -> list[LayerSinks]:
    """The sampled layers, from first to last; each has a head at least."""
    return [
        LayerSinks(one.layer, one.kind, tuple(map(share, one.kept)), tuple(map(share, one.learned)))
        for one in probed.layers
        if one.kept
    ]


def mean(of: Iterable[LayerSinks]) -> SinkShare:
    """The mean over the heads of these layers, of which there is at least one.

    A layer without learned sinks among others with them counts with nothing on its learned ones.
    """
    these = list(of)
    kept = [value for one in these for value in one.kept]
    learned = [value for one in these for value in one.learned]
    return SinkShare(len(these), sum(kept) / len(kept), sum(learned) / len(kept) if learned else None)


def by_kind(of: Sequence[LayerSinks]) -> dict[str, SinkShare]:
    """The means of global and of sliding layers, as far as the model has them."""
    return {kind: mean(one for one in of if one.kind == kind) for kind in KINDS if any(one.kind == kind for one in of)}


def needed(sinks: Sinks) -> int | None:
    """First tokens that this model needs, as measured: by loss, and where the residual stream stands out.

    Of the latter those from the first token on without a gap: later ones belong to the text that was measured. None
    where nothing was measured.
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
    """(kept, needed) where the cache keeps fewer first tokens than the model was measured to need; else None.

    None, too, where nothing was measured, and as long as the cache is too short to tell.
    """
    if loaded.sinks is None or loaded.policy not in LOSING or snapshot is None:
        return None
    need = needed(loaded.sinks)
    if need is None or snapshot.n_used < need or snapshot.n_sink >= need:
        return None
    return snapshot.n_sink, need


def grouped(values: Sequence[float], most: int) -> list[float]:
    """`values` as they are or, where they are more than `most`, the means of groups of neighbours of one size.

    The last group may be smaller.

    >>> grouped([0.0, 1.0, 0.5, 0.5, 1.0], most=3)
    [0.5, 0.5, 1.0]
    """
    size = max(1, -(-len(values) // max(1, most)))
    groups = [values[at : at + size] for at in range(0, len(values), size)]
    return [sum(group) / len(group) for group in groups]
