"""What the panels of sinks and experts work out of the probe's events, before anything is drawn."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from chatapp.presentation import attention
from chatapp.presentation.experts import Routed, loads, median_imbalance, routed
from chatapp.presentation.grades import grades
from chatapp.presentation.observed import HISTORY, Observed
from chatapp.protocol.codec import AnyEvent
from chatapp.protocol.events import Evicted, Probed
from chatapp.protocol.values import Sinks
from tests.support.presentation.inspector_events import conversation, loaded, snapshot, started, story
from tests.support.presentation.probe_events import (
    expert_sample,
    layer,
    measured_sinks,
    plain_sample,
    probed,
    with_sinks,
)

heads = st.lists(st.integers(0, 255), min_size=1, max_size=6)


# --------------------------------------------------------------------------- sinks


@given(st.lists(st.tuples(st.sampled_from(["global", "swa"]), heads), min_size=1, max_size=12))
def test_the_kinds_together_are_the_share_that_the_event_names(drawn: list[tuple[str, list[int]]]) -> None:
    """Weighted by their heads the kinds make the engine's own figure: no layer is left out or counted twice."""
    event = probed([layer(i, kept, kind=kind) for i, (kind, kept) in enumerate(drawn)])
    kinds = attention.by_kind(attention.layers(event))
    n_heads = {kind: sum(len(kept) for one, kept in drawn if one == kind) for kind in kinds}
    whole = sum(share.both * n_heads[kind] for kind, share in kinds.items()) / sum(n_heads.values())
    assert math.isclose(whole, event.sink_share, abs_tol=1e-12)
    assert sum(share.n_layer for share in kinds.values()) == len(drawn)


def test_learned_sinks_stand_beside_the_kept_ones() -> None:
    """51 of 255 is a fifth, half of the heads have 102: kept 0.3 in the mean; learned counts over all heads."""
    layers = attention.layers(probed([layer(0, [51, 102], learned=[255, 51]), layer(1, [51, 102])]))
    both = attention.mean(layers)
    assert both.learned is not None
    assert [round(value, 9) for value in (both.kept, both.learned, both.both)] == [0.3, 0.3, 0.6]
    assert attention.mean(layers[1:]).learned is None


def test_a_model_needs_what_its_loss_and_its_norms_ask_for() -> None:
    """By loss one is enough; outliers at 0, 1 and 2 ask for three, one at 5 belongs to the text that was measured."""
    assert attention.needed(measured_sinks()) == 1
    assert attention.needed(measured_sinks(outliers=((0, 168.0), (1, 30.0), (2, 12.0), (5, 40.0)))) == 3
    assert attention.needed(measured_sinks(outliers=((5, 40.0),))) == 1
    assert attention.needed(Sinks(n=4, why="From settings.")) is None


@pytest.mark.parametrize(
    ("policy", "kept", "short"),
    [("window", 0, (0, 1)), ("sinks", 0, (0, 1)), ("sinks", 31, None), ("dense", 0, None), ("rebuild", 0, None)],
)
def test_fewer_than_were_measured_is_told_where_it_costs_anything(
    policy: str, kept: int, short: tuple[int, int] | None
) -> None:
    model = with_sinks(structs.replace(loaded(), policy=policy), measured_sinks())
    assert attention.shortfall(model, snapshot(conversation([(20, 30)], sinks=kept))) == short
    assert attention.shortfall(model, snapshot()) is None, "an empty cache keeps none yet"
    assert attention.shortfall(model, None) is None


def test_nothing_is_missed_that_nobody_measured() -> None:
    unknown = with_sinks(structs.replace(loaded(), policy="window"), Sinks(n=4, why="From settings."))
    assert attention.shortfall(unknown, snapshot(conversation([(20, 30)], sinks=0))) is None


@given(st.lists(st.floats(0, 1), max_size=200), st.integers(1, 80))
def test_groups_keep_the_mean_and_fit(values: list[float], most: int) -> None:
    """A table that is too wide shows means, and every value is in one of them."""
    groups = attention.grouped(values, most)
    size = max(1, -(-len(values) // most))
    assert len(groups) <= most
    sizes = [min(size, len(values) - at * size) for at in range(len(groups))]
    assert sum(sizes) == len(values)
    assert math.isclose(sum(mean * n for mean, n in zip(groups, sizes, strict=True)), sum(values), abs_tol=1e-9)


@given(st.floats(0, 1), st.floats(1e-6, 1))
def test_a_shade_is_the_tenths_of_the_largest_value(value: float, top: float) -> None:
    (level,) = grades([value], top)
    assert 0 <= level <= 9
    assert level / 10 <= value / top + 1e-6
    assert value / top < (level + 1) / 10 or level == 9


# --------------------------------------------------------------------------- what is remembered


def fed(*events: AnyEvent) -> Observed:
    observed = Observed()
    for event in events:
        observed.apply(event)
    return observed


def test_a_sample_after_an_eviction_is_marked_and_only_the_first() -> None:
    evicted = next(event for event in story() if isinstance(event, Evicted))
    observed = fed(loaded(), plain_sample(1), evicted, evicted, plain_sample(2), plain_sample(3))
    assert [(sample.pos, sample.evicted) for sample in observed.sink_history] == [(1, False), (2, True), (3, False)]
    assert observed.sink_history[0].share == plain_sample().sink_share


@pytest.mark.parametrize("event", [started(), loaded()])
def test_samples_of_another_model_are_forgotten(event: AnyEvent) -> None:
    evicted = next(event for event in story() if isinstance(event, Evicted))
    observed = fed(loaded(), expert_sample(), evicted, event)
    assert (observed.probed, list(observed.sink_history), list(observed.routed)) == (None, [], [])
    observed.apply(plain_sample())
    assert not observed.sink_history[0].evicted, "that eviction was the other model's"


def test_the_past_is_bounded() -> None:
    observed = fed(loaded(), *(expert_sample(pos) for pos in range(HISTORY + 5)))
    assert [len(observed.sink_history), len(observed.routed)] == [HISTORY, HISTORY]
    assert observed.routed[0].pos == 5


# --------------------------------------------------------------------------- experts


def test_a_load_is_the_share_of_tokens_that_went_through_an_expert() -> None:
    """Three tokens of two experts each in layer 2: expert 0 took all of them, 1 two, 3 one; even is a half each."""
    tokens = [Routed(pos, {2: ((0, 0.6), (other, 0.4))}) for pos, other in enumerate((1, 1, 3))]
    (load,) = loads(tokens, 4)
    assert load.layer == 2
    assert (load.counts, load.shares(4)) == ((3, 2, 0, 1), [1.0, 2 / 3, 0.0, 1 / 3])
    assert (load.busiest, load.n_taken, load.imbalance) == (0, 3, 2.0)
    assert load.shares(2) == [5 / 6, 1 / 6], "means of neighbours"


two_experts = st.lists(st.integers(0, 7), min_size=2, max_size=2, unique=True)


@given(st.lists(st.dictionaries(st.integers(0, 5), two_experts), max_size=20))
def test_every_choice_is_in_one_load(tokens: list[dict[int, list[int]]]) -> None:
    """Counted here one by one, in every layer; even is 1, and two of eight experts can make 4 at most."""
    history = [Routed(0, {at: tuple((e, 0.5) for e in chosen) for at, chosen in token.items()}) for token in tokens]
    for load in loads(history, 8):
        these = [token[load.layer] for token in tokens if load.layer in token]
        assert load.tokens == len(these)
        assert load.counts == tuple(sum(expert in chosen for chosen in these) for expert in range(8))
        assert load.n_taken == len({expert for chosen in these for expert in chosen})
        assert 1 <= load.imbalance <= 4


def test_layers_without_experts_are_left_out() -> None:
    """llama4 has experts in every other layer; SmolLM2 has none at all."""
    event: Probed = probed([layer(0, [9]), layer(1, [9], experts=[1])])
    found = routed(event)
    assert found is not None
    assert found.chosen == {1: ((1, 1.0),)}
    assert routed(plain_sample()) is None


def test_a_damaged_trace_draws_what_is_right_in_it() -> None:
    assert loads([Routed(0, {0: ((99, 1.0),)})], 4) == []
    (load,) = loads([Routed(0, {0: ((99, 0.5), (1, 0.5))})], 4)
    assert load.counts == (0, 1, 0, 0)


def test_the_median_is_a_layer_that_is_there() -> None:
    tokens = [Routed(0, {0: ((0, 1.0),), 1: ((0, 1.0),)}), Routed(1, {0: ((1, 1.0),), 1: ((0, 1.0),)})]
    assert [load.imbalance for load in loads(tokens, 2)] == [1.0, 2.0]
    assert median_imbalance(loads(tokens, 2)) == 2.0
