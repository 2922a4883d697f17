"""The sinks panel: the attention on sinks now, over time, by layer and head, and how many sinks the model needs."""

from textual.content import Content
from textual.style import Style

from chatapp.presentation import attention, format
from chatapp.presentation.attention import LayerSinks, SinkShare
from chatapp.presentation.observed import Observed
from chatapp.presentation.time_series import MARKED, marks
from chatapp.protocol.events import Loaded, Probed
from chatapp.protocol.values import Sinks as SinkCount
from chatapp.text import LONGEST_SENTENCE, one_line
from chatapp.ui.widgets.inspector.paint import Palette
from chatapp.ui.widgets.inspector.panel import LABEL_WIDTH, labelled
from chatapp.ui.widgets.inspector.sampled import WIDE, SampledPanel, noted, sampled, unsampled
from chatapp.ui.widgets.inspector.shades import shades
from chatapp.units import significant

_AFTER_BAR = len(" 100%")
_TELLS = len(MARKED)
_BEFORE_HEADS = len("999 sliding 100% ")
_AFTER_HEADS = len("  norm 9,999")
_GAP = "  "
_LONGEST_BAR = 50
_TABLES = ("kept, by head", "learned, by head")
MOST_OUTLIERS = 4


class SinksPanel(SampledPanel):
    """A gauge for all layers and for each kind, the samples as bars, the layers as shades; zoomed, every head."""

    HELP = (
        "Sinks are the first tokens, which heads attend to when they need nothing else: `kept` is the attention on"
        " those that the cache keeps, and a `learned` sink is a number that each head has learned, which takes"
        " attention but has no cell. "
        "The shares are llama.cpp's own attention weights of one sampled token, mean over heads and layers; each bar"
        " is one sample, and a ^ marks the first one after an eviction. "
        "How many sinks a model needs is measured with --sinks auto, by the loss without them and by how far the first"
        " tokens' residual norms stand out; a warning says when the cache keeps fewer."
    )

    def depends_on(self, observed: Observed) -> object:
        """The warning: what is kept changes with the cache."""
        return observed.loaded and attention.shortfall(observed.loaded, observed.snapshot)

    def make(self, observed: Observed, width: int) -> list[Content]:
        """Now, by kind, over time, by layer; then what was measured of the model."""
        probed, loaded = observed.probed, observed.loaded
        rows = unsampled(observed, width) if probed is None else self._now(probed, observed, width)
        if loaded is not None:
            rows += self._measured(loaded, observed, width)
        if probed is not None and width >= WIDE:
            rows += self._heads(probed, width)
        return rows

    def summary(self, observed: Observed) -> str:
        """ "42% of attention"."""
        probed = observed.probed
        return format.DASH if probed is None else f"{format.percent(probed.sink_share)} of attention"

    # ----------------------------------------------------------------------- the newest sample

    def _now(self, probed: Probed, observed: Observed, width: int) -> list[Content]:
        layers = attention.layers(probed)
        rows = sampled(probed, width)
        if not layers:
            return rows
        whole, kinds = attention.mean(layers), attention.by_kind(layers)
        rows.append(self._gauge("now", whole, width))
        if whole.learned is not None:
            rows += noted("", f"kept {format.percent(whole.kept)} · learned {format.percent(whole.learned)}", width)
        if len(kinds) > 1:
            rows += [self._gauge(attention.KINDS[kind], share, width) for kind, share in kinds.items()]
        rows += self._history(observed, width)
        if width < WIDE:
            means = attention.grouped([attention.mean([layer]).both for layer in layers], width - LABEL_WIDTH)
            rows.append(labelled("layers", shades(means, 1.0, "sink", self.colours)))
        return rows

    def _gauge(self, label: str, share: SinkShare, width: int) -> Content:
        """All of the attention as a bar: kept sinks solid, learned ones hatched, the rest dots."""
        room = max(1, min(_LONGEST_BAR, width - LABEL_WIDTH - _AFTER_BAR))
        kept = format.fraction_bar(share.kept, 1.0, room)
        both = len(format.fraction_bar(share.both, 1.0, room))
        learned = "▒" * max(0, both - len(kept)) or ("▒" if share.learned and len(kept) < room else "")
        rest = "·" * (room - len(kept) - len(learned))
        bar = Content.assemble(
            (kept + learned, self._style("sink")), (rest, self._style("free")), f" {format.percent(share.both):>4}"
        )
        return labelled(label, bar)

    def _history(self, observed: Observed, width: int) -> list[Content]:
        samples = list(observed.sink_history)[-max(1, width - LABEL_WIDTH - _TELLS) :]
        if not samples:
            return []
        bars = format.bars([sample.share for sample in samples], len(samples))
        most = format.percent(max(sample.share for sample in samples))
        rows = [labelled("samples", Content.assemble((bars, self._style("sink")), (f" up to {most}", "dim")))]
        if any(sample.evicted for sample in samples):
            under = marks(sample.evicted for sample in samples)
            rows.append(labelled("", Content.assemble(under, (MARKED, "dim"))))
        return rows

    def _heads(self, probed: Probed, width: int) -> list[Content]:
        """A row for each layer: its number and kind, its mean, its heads' shades, its residual norm."""
        layers, palette = attention.layers(probed), self.colours
        names = _TABLES[: 2 if any(layer.learned for layer in layers) else 1]
        most = max((len(layer.kept) for layer in layers), default=0)
        room = (width - _BEFORE_HEADS - _AFTER_HEADS) // len(names) - len(_GAP)
        each = 2 if 2 * most <= room else 1
        columns = max(len(names[-1]), min(most, room) * each)
        title = f"{'layer':<{_BEFORE_HEADS - 5}}mean {_GAP.join(name.ljust(columns) for name in names)}{_GAP}norm"
        norms = {one.layer: one.norm for one in probed.layers}
        rows = [Content(""), Content.styled(title, "dim")]
        for layer in layers:
            heads = [
                _shades(values, room, each, columns, palette) for values in (layer.kept, layer.learned)[: len(names)]
            ]
            rows.append(
                Content.assemble(
                    _name(layer), Content(_GAP).join(heads), _GAP, _norm(norms.get(layer.layer)),
                )
            )  # fmt: skip
        told = "Digits are tenths of the attention." if palette.plain else "Stronger colour means more attention."
        per = -(-most // max(1, room))
        return [*rows, Content.styled(f"{told}{f' One column is {per} heads.' if per > 1 else ''}", "dim")]

    # ----------------------------------------------------------------------- what the model needs

    def _measured(self, loaded: Loaded, observed: Observed, width: int) -> list[Content]:
        sinks, rows = loaded.sinks, list[Content]()
        fewer = attention.shortfall(loaded, observed.snapshot)
        if fewer is not None:
            kept, need = fewer
            rows += noted("▲", f"keeps {_firsts(kept)}; this model needs {need:,}", width, "$text-warning")
        if loaded.model.learned_sinks:
            rows += noted("model", "has learned sinks: one number per head, no cells", width)
        if sinks is None:
            return rows
        need = attention.needed(sinks)
        if need is None:
            return rows + noted("keeps", _kept(sinks, loaded.policy), width, "dim")
        rows += noted("needs", f"{_firsts(need)}, as measured", width)
        if sinks.outliers:
            told = ", ".join(f"{one.pos:,} ×{significant(one.ratio)}" for one in sinks.outliers[:MOST_OUTLIERS])
            rows += noted("norms", f"far above the median at {told}", width)
        if width >= WIDE:
            rows += [_trial(one.n_sink, one.excess_nats, one.error_nats) for one in sinks.trials]
        return rows

    def _style(self, colour: str) -> Style:
        return Style() if self.colours.plain else Style(foreground=self.colours.colour(colour))


def _shades(values: tuple[float, ...], room: int, each: int, columns: int, palette: Palette) -> Content:
    """The heads' shades, filled up to `columns`."""
    drawn = shades(attention.grouped(values, room), 1.0, "sink", palette, each=each)
    return Content.assemble(drawn, " " * (columns - drawn.cell_length))


def _name(layer: LayerSinks) -> str:
    mean = format.percent(attention.mean([layer]).both)
    return f"{layer.layer:>3} {attention.KINDS.get(layer.kind, ''):<7} {mean:>4} "


def _norm(norm: float | None) -> str:
    return format.DASH if norm is None else f"{norm:,.0f}" if norm >= 100 else significant(norm)


def _kept(found: SinkCount, policy: str) -> str:
    """What is kept although nothing was measured, and why: "at least the first 4 tokens (from settings)"."""
    why = one_line(found.why, LONGEST_SENTENCE)
    if policy == "window":  # it keeps none, whatever is set
        return why
    kept, reason = f"at least {_firsts(found.n)}", why.removesuffix(".")
    return f"{kept}. {why}" if ". " in reason else f"{kept} ({reason[:1].lower()}{reason[1:]})"


def _firsts(n: int) -> str:
    return "no sinks" if n == 0 else "the first token" if n == 1 else f"the first {n:,} tokens"


def _trial(n_sink: int, excess_nats: float, error_nats: float) -> Content:
    how = "best" if excess_nats == 0 else f"+{excess_nats:.3f} ± {error_nats:.3f} nats per token"
    return labelled("", f"{n_sink:>2} kept  {how}")
