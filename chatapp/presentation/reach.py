"""How far back a model sees: what its layers see directly, and what can reach a token through a stack of windows.

The curve is that of `kernels.reach`: every layer attends evenly to its window, and a residual of strength ALPHA keeps
a token's own state. It is the geometry of the mask, not a measurement.
"""

from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from chatapp.protocol.events import Loaded, Snapshot

if TYPE_CHECKING:
    from kernels.arrays import Floats

ALPHA = 0.9
"""Assumed strength of the residual, the same as in `swachat lab reach`."""
EPS = 0.01
"""A smaller share of the influence counts as none."""
MOST_MULTIPLICATIONS = 2e10
"""About ten seconds of the reference implementation on one thread."""
CHUNKED = frozenset({"llama4"})
"""Architectures whose layers see chunks with fixed boundaries instead of windows: chunks do not stack."""
KEPT = ("sink", "pinned")
"""Kinds of cells that are kept while others are evicted, so that a gap may follow them."""


@dataclass(frozen=True, slots=True)
class Stack:
    """A model's attention: which layers have a window, how wide it is, and the cells of the global layers."""

    slides: tuple[bool, ...]
    window: int
    """In tokens, the newest one included; all cells for a model without sliding layers."""
    n_ctx: int
    chunked: bool

    @property
    def n_sliding(self) -> int:
        """Layers with a window."""
        return sum(self.slides)

    @property
    def n_global(self) -> int:
        """Layers that see the whole cache."""
        return len(self.slides) - self.n_sliding

    @property
    def reachable_tokens(self) -> int:
        """Distances at which a token has any influence through the sliding layers, distance 0 included."""
        return self.n_sliding * (self.window - 1) + 1


@dataclass(frozen=True, eq=False, slots=True)
class ReachCurve:
    """How much of the influence on a token comes from a distance or beyond."""

    sliding: "Floats"
    """Through the sliding layers alone, by distance: `(reachable_tokens,)`, from 1 down."""
    together: "Floats | None"
    """Through all layers, in a full window: `(n_ctx,)`; None where no layer is global."""
    exact_tokens: int
    """At most EPS comes from this distance or beyond, through the sliding layers alone."""
    formula_tokens: float
    """W ln(EPS) / ln(1 - ALPHA): the same by the exponential bound, which holds at any depth."""

    def beyond(self, distance: int) -> float:
        """The share from `distance` tokens back or farther, through the sliding layers alone."""
        return float(self.sliding[distance]) if distance < len(self.sliding) else 0.0

    def beyond_together(self, distance: int) -> float | None:
        """The same through all layers, in a full window; None outside of it, or if no layer is global."""
        if self.together is None or distance >= len(self.together):
            return None
        return float(self.together[distance])


@dataclass(frozen=True, slots=True)
class HistoryReach:
    """How far back the conversation goes, in tokens."""

    in_window: int
    """Tokens in the cache."""
    recent: int
    """Contiguous tokens up to the newest one: without sinks and pinned turns, once tokens were evicted."""
    evicted: int
    residual: int
    """Tokens evicted since the cache was last built: their influence remains in later tokens."""

    @property
    def farthest(self) -> int:
        """How far back the oldest token is that may still have influence."""
        return max(0, self.in_window + self.residual - 1)


def stack(loaded: Loaded) -> Stack:
    """The attention of the loaded model. If the engine does not say which layers slide, it says how many."""
    model = loaded.model
    slides = tuple(loaded.slides) or tuple(layer < model.n_layer_swa for layer in range(model.n_layer))
    if model.n_swa is None or not any(slides) or model.n_swa >= loaded.n_ctx:  # wider than what is cached
        return Stack((False,) * len(slides), loaded.n_ctx, loaded.n_ctx, chunked=False)
    return Stack(slides, model.n_swa, loaded.n_ctx, chunked=model.architecture in CHUNKED)


def history_reach(snapshot: Snapshot, residual: int) -> HistoryReach:
    """How far back the conversation goes now."""
    moving = takewhile(lambda run: run.kind not in KEPT, reversed(snapshot.runs))
    recent = sum(run.n for run in moving) if snapshot.evicted_tokens else snapshot.n_used
    return HistoryReach(snapshot.n_used, recent, snapshot.evicted_tokens, residual)


def computable(of: Stack) -> bool:
    """True if there is a curve, and computing it takes a few seconds at most."""
    if of.chunked or not of.n_sliding:
        return False
    together = of.n_ctx * of.n_sliding * of.window if of.n_global else 0
    return (of.n_sliding * of.window) ** 2 / 2 + together <= MOST_MULTIPLICATIONS


def curve(of: Stack) -> ReachCurve:
    """The exact curve. It loads NumPy and may take seconds: do not call it on the interface's own thread."""
    from kernels.reach import exponential_tokens, influence, influence_in_context, range_tokens

    p = influence(of.n_sliding, of.window, ALPHA)
    together = None
    if of.n_global:
        windows = [of.window if slides else None for slides in of.slides]
        together = _tails(influence_in_context(of.n_ctx, windows, ALPHA))
    return ReachCurve(
        sliding=_tails(p),
        together=together,
        exact_tokens=range_tokens(p, EPS),
        formula_tokens=exponential_tokens(of.window, ALPHA, EPS),
    )


def _tails(p: "Floats") -> "Floats":
    """The sum from each distance on, added from the far end, so that small sums are as exact as large ones."""
    return p[::-1].cumsum()[::-1]
