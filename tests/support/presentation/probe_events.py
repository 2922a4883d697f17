"""What the probe would report of models of several kinds, for the inspector's tests."""

from collections.abc import Sequence

from msgspec import structs

from chatapp.protocol.events import Loaded, Probed
from chatapp.protocol.values import LayerSight, Outlier, Sinks, SinkTrial
from tests.support.presentation.inspector_events import NOON_S, loaded

TRIALS = ((0, 0.584, 0.076), (1, 0.017, 0.008), (2, 0.006, 0.008), (4, 0.016, 0.007), (8, 0.0, 0.0))
"""SmolLM2's, as docs/reference/cache.md has them: one first token is enough."""


def layer(
    number: int,
    kept: Sequence[int],
    *,
    kind: str = "global",
    learned: Sequence[int] = (),
    norm: float | None = 41.0,
    experts: Sequence[int] = (),
) -> LayerSight:
    """One layer; `kept` and `learned` in bytes of 255, by head. The experts share the token evenly."""
    return LayerSight(
        layer=number,
        kind=kind,
        kept=bytes(kept),
        learned=bytes(learned),
        runs=b"",
        norm=norm,
        experts=list(experts),
        expert_weights=[1 / len(experts) for _ in experts],
    )


def probed(layers: Sequence[LayerSight], *, pos: int = 411, turn: int = 8) -> Probed:
    """A sampled token of these layers; the share of its sinks is theirs."""
    bytes_ = [byte for one in layers for byte in one.kept]
    learned = [byte for one in layers for byte in one.learned]
    return Probed(
        at_s=NOON_S + 61,
        turn=turn,
        pos=pos,
        runs=[],
        sink_share=(sum(bytes_) + sum(learned)) / 255 / len(bytes_) if bytes_ else 0.0,
        sights=[],
        layers=list(layers),
        mismatch=None,
        ms=3.1,
    )


def plain_sample(pos: int = 411, shift: int = 0) -> Probed:
    """30 layers of 9 heads, as SmolLM2 has them: a slope over layers and heads, `shift` bytes up."""
    return probed([layer(i, [min(255, i * 6 + head * 8 + shift) for head in range(9)]) for i in range(30)], pos=pos)


def hybrid_sample() -> Probed:
    """18 layers of 4 heads, as Gemma 3 270M: half of the global layers' attention is on sinks, none of the others'."""
    return probed(
        [
            layer(i, [128] * 4 if i % 6 == 5 else [0] * 4, kind="global" if i % 6 == 5 else "swa", norm=900.0 + i)
            for i in range(18)
        ],
        pos=1079,
    )


def expert_sample(pos: int = 411, *, n_layer: int = 4, n_expert: int = 8, learned: bool = True) -> Probed:
    """Two experts in each layer that change with the position; a fifth on learned sinks beside a tenth on kept ones."""
    return probed(
        [
            layer(
                i,
                [26, 25],
                kind="swa" if i % 2 == 0 else "global",
                learned=[51, 51] if learned else (),
                experts=[(pos + i) % n_expert, (pos + 3 * i + 1) % n_expert],
            )
            for i in range(n_layer)
        ],
        pos=pos,
    )


def with_sinks(event: Loaded, sinks: Sinks) -> Loaded:
    """The same model with these sinks."""
    return structs.replace(event, sinks=sinks)


def measured_sinks(*, n: int = 1, outliers: Sequence[tuple[int, float]] = ((0, 168.0),)) -> Sinks:
    """SmolLM2's measurement."""
    return Sinks(
        n=n,
        why="Measured.",
        trials=[
            SinkTrial(n_sink=k, loss_nats=3 + above, excess_nats=above, error_nats=off) for k, above, off in TRIALS
        ],
        scored_tokens=256,
        outliers=[Outlier(pos=pos, ratio=ratio) for pos, ratio in outliers],
    )  # fmt: skip


def expert_model(n_expert: int = 8, *, n_layer: int = 4) -> Loaded:
    """A small model with experts and learned sinks."""
    event = loaded(512, 128, 256)
    model = structs.replace(
        event.model, n_layer=n_layer, n_layer_swa=n_layer // 2, n_expert=n_expert, n_expert_used=2, learned_sinks=True
    )
    return structs.replace(event, model=model, slides=[i % 2 == 0 for i in range(n_layer)])


def gemma() -> Loaded:
    """The shape of Gemma 3 270M in a window of 2,048."""
    event = loaded(2048, 512, 768)
    model = structs.replace(event.model, architecture="gemma3", n_layer=18, n_layer_swa=15, n_head=4)
    return structs.replace(event, model=model, slides=[i % 6 != 5 for i in range(18)])
