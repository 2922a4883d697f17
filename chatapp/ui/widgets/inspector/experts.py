"""The experts panel: which experts the sampled tokens were routed to, and how even the load is."""

from collections.abc import Sequence

from textual.content import Content

from chatapp.presentation import format
from chatapp.presentation.attention import grouped
from chatapp.presentation.experts import LayerLoad, Routed, loads, median_imbalance
from chatapp.presentation.observed import Observed
from chatapp.ui.widgets.inspector.panel import LABEL_WIDTH, labelled
from chatapp.ui.widgets.inspector.sampled import WIDE, SampledPanel, noted, unsampled
from chatapp.ui.widgets.inspector.shades import shades

MOST_ROWS = 8
"""Of the small picture: if there are more experts, several share a row."""
_BEFORE_GRID = len("  999  ×99.9   999  ")
_NEWEST = 24
"""Fewest columns for the newest token's experts."""


class ExpertsPanel(SampledPanel):
    """Experts by layer as shades. Only a model with experts has this panel."""

    HELP = (
        "In a model with experts, each layer routes each token to a few of them; the shades show what share of the"
        " sampled tokens each expert got, with the layers from left to right, or, zoomed, one in each row. "
        "The choices are read from llama.cpp's own router for the tokens that the probe samples. "
        "`×` is the load of a layer's busiest expert over the mean of all: 1 is even, and with few tokens chance alone"
        " makes it larger."
    )

    @staticmethod
    def applies(observed: Observed) -> bool:
        """True for a model with experts."""
        return observed.loaded is not None and bool(observed.loaded.model.n_expert)

    def make(self, observed: Observed, width: int) -> list[Content]:
        """The number of tokens, the shades, the balance."""
        n_expert = observed.loaded.model.n_expert if observed.loaded is not None else None
        if not n_expert:
            return [labelled("experts", "none")]
        by_layer = loads(observed.routed, n_expert)
        if not by_layer:
            return unsampled(observed, width)
        used = sum(sum(one.counts) / one.tokens for one in by_layer) / len(by_layer)
        top, drawn = (self._table if width >= WIDE else self._picture)(by_layer, observed.routed[-1], width)
        return [
            labelled("tokens", f"{len(observed.routed):,} sampled"),
            *noted("shades", f"up to {format.percent(top)}; even load {format.percent(used / n_expert)}", width),
            *drawn,
            *_balance(by_layer, width),
        ]

    def summary(self, observed: Observed) -> str:
        """ "2 of 8 per token"."""
        model = observed.loaded.model if observed.loaded is not None else None
        if model is None or not model.n_expert:
            return format.DASH
        return f"{format.count(model.n_expert_used)} of {model.n_expert:,} per token"

    def _picture(self, by_layer: list[LayerLoad], _newest: Routed, width: int) -> tuple[float, list[Content]]:
        """Layers from left to right, experts from top to bottom, both grouped if there are too many."""
        n_expert = len(by_layer[0].counts)
        per = -(-n_expert // MOST_ROWS)
        columns = [layer.shares(MOST_ROWS) for layer in by_layer]
        across = [grouped(row, width - LABEL_WIDTH) for row in zip(*columns, strict=True)]
        each = 2 if 2 * len(across[0]) <= width - LABEL_WIDTH else 1
        top, palette = max(max(row) for row in across), self.colours
        return top, [
            labelled(
                format.turns(range(at * per, min(n_expert, (at + 1) * per))),
                shades(row, top, "turn-a", palette, each=each),
            )
            for at, row in enumerate(across)
        ]

    def _table(self, by_layer: list[LayerLoad], newest: Routed, width: int) -> tuple[float, list[Content]]:
        """A row for each layer: imbalance, experts in use, all experts, those of the newest token."""
        n_expert = len(by_layer[0].counts)
        room = width - _BEFORE_GRID - _NEWEST
        each = 2 if 2 * n_expert <= room else 1
        across = [layer.shares(room) for layer in by_layer]
        top, palette = max(max(row) for row in across), self.colours
        columns = max(len("experts"), len(across[0]) * each)
        rows = [Content.styled(f"{'layer':<6}{'busy':>6}{'used':>6}  {'experts':<{columns}}  newest token", "dim")]
        for layer, row in zip(by_layer, across, strict=True):
            drawn = shades(row, top, "turn-a", palette, each=each)
            rows.append(
                Content.assemble(
                    f"{layer.layer:>5} {_times(layer.imbalance):>6}{layer.n_taken:>6}  ",
                    drawn,
                    " " * (columns - drawn.cell_length),
                    f"  {_choice(newest, layer.layer)}",
                )
            )
        return top, rows


def _balance(by_layer: Sequence[LayerLoad], width: int) -> list[Content]:
    worst = max(by_layer, key=lambda one: one.imbalance)
    told = (
        f"busiest {_times(median_imbalance(by_layer))} the mean in the median layer,"
        f" {_times(worst.imbalance)} in layer {worst.layer:,} (expert {worst.busiest:,})"
    )
    return noted("balance", told, width)


def _choice(newest: Routed, layer: int) -> str:
    chosen = sorted(newest.chosen.get(layer, ()), key=lambda pair: -pair[1])
    return ", ".join(f"{expert:,} {format.percent(weight)}" for expert, weight in chosen)


def _times(ratio: float) -> str:
    return f"×{ratio:.1f}"
