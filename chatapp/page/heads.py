"""Sinks by layer and head: a table for each probe sample that a page shows, with tenths as a digit for each head."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from chatapp.page.columns import Column
from chatapp.presentation import attention, format
from chatapp.presentation.attention import LayerSinks
from chatapp.presentation.grades import grades
from chatapp.protocol.events import Loaded, Probed, Snapshot

MOST_CELLS = 20_000
"""Most heads in one table; no model has as many, but a foreign trace may claim so."""
MOST_DIGITS = 1_000_000
"""Most heads in all tables of a page."""
NO_HEAD = " "
"""Stands for a head that this layer lacks and another one has."""


class Row(NamedTuple):
    """One layer as text, and a character for each head: `kept` and `learned` have the same length in every row."""

    layer: str
    kind: str
    mean: str
    kept: str
    learned: str


@dataclass(frozen=True)
class Table:
    """One sample: its token, the share of the attention on sinks, and its layers from first to last."""

    about: str
    rows: list[Row]


@dataclass(frozen=True)
class Heads:
    """The tables of a page, and which one is the newest at each of its moments (None before the first)."""

    tables: list[Table] = field(default_factory=list[Table])
    n_kept: int = 0
    n_learned: int = 0
    at: list[int | None] = field(default_factory=list[int | None])


def heads(found: Sequence[Column], notices: list[str]) -> Heads:
    """The tables of the samples at these moments, as far as they fit; what was omitted is added to `notices`."""
    samples = list({id(column.sample): column.sample for column in found if column.sample is not None}.values())
    layers = {id(sample): attention.layers(sample) for sample in samples}
    fit = [sample for sample in samples if 0 < _cells(layers[id(sample)]) <= MOST_CELLS]
    n_kept = max((len(layer.kept) for sample in fit for layer in layers[id(sample)]), default=0)
    n_learned = max((len(layer.learned) for sample in fit for layer in layers[id(sample)]), default=0)
    digits = sum(len(layers[id(sample)]) for sample in fit) * (n_kept + n_learned)
    shown = fit[:: -max(1, -(-digits // MOST_DIGITS))][::-1]
    if len(shown) < len(samples):
        notices.append(
            f"Sinks by layer and head are shown for {len(shown):,} of {len(samples):,} probe samples."
            if shown
            else f"Sinks by layer and head are not shown: {len(samples):,} probe samples are too large or have none."
        )
    numbers = {id(sample): number for number, sample in enumerate(shown)}
    at: list[int | None] = []
    for column in found:
        at.append(numbers.get(id(column.sample), at[-1] if at else None))
    return Heads([_table(sample, layers[id(sample)], n_kept, n_learned) for sample in shown], n_kept, n_learned, at)


def needs(loaded: Loaded | None, snapshot: Snapshot | None) -> list[str]:
    """What was measured about the model's sinks, in sentences; the last one where the cache keeps fewer."""
    if loaded is None:
        return []
    said: list[str] = []
    if loaded.model.learned_sinks:
        said.append("The model has learned sinks: one number per head, which takes attention but no cell.")
    need = attention.needed(loaded.sinks) if loaded.sinks is not None else None
    if need is not None:
        said.append(f"By measurement it needs {format.plural(need, 'first token')}.")
    if (fewer := attention.shortfall(loaded, snapshot)) is not None:
        said.append(f"At the end the cache kept fewer: {fewer[0]:,}.")
    return said


def _cells(layers: Sequence[LayerSinks]) -> int:
    return len(layers) * max((len(layer.kept) + len(layer.learned) for layer in layers), default=0)


def _table(sample: Probed, layers: Sequence[LayerSinks], n_kept: int, n_learned: int) -> Table:
    rows = [
        Row(
            str(layer.layer),
            attention.KINDS.get(layer.kind, ""),
            format.percent(attention.mean([layer]).both),
            _digits(layer.kept, n_kept),
            _digits(layer.learned, n_learned),
        )
        for layer in layers
    ]
    return Table(_about(sample, layers), rows)


def _about(sample: Probed, layers: Sequence[LayerSinks]) -> str:
    """The token that was sampled, and the means: of all heads, and of each kind of layer where there are two."""
    whole, kinds = attention.mean(layers), attention.by_kind(layers)
    parts = [f"{format.percent(whole.both)} of the attention on sinks"]
    if whole.learned is not None:
        parts.append(f"{format.percent(whole.kept)} on kept ones, {format.percent(whole.learned)} on learned ones")
    if len(kinds) > 1:
        parts += [f"{attention.KINDS[kind]} layers {format.percent(share.both)}" for kind, share in kinds.items()]
    turn = "" if sample.turn is None else f", turn {sample.turn:,}"
    return f"Token at position {sample.pos:,}{turn}, {format.clock(sample.at_s)}: {'; '.join(parts)}."


def _digits(shares: Sequence[float], width: int) -> str:
    return "".join(map(str, grades(shares, 1.0))).ljust(width, NO_HEAD)
